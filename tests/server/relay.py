"""A network between a client and a server, to be cut, and to be made deaf."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Relay:
    """Passes the bytes of TCP connections on. Its methods belong to other threads than its loop's."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    def cut(self) -> None:
        """All connections break at once, without a word."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(60)

    def freeze(self) -> None:
        """Nothing more goes through, and nobody is told: as a network that went away. New connections hang too."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def thaw(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._writers -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        else:
            writer.close()

    def run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def relayed(port: int) -> Iterator[Relay]:
    """A way to this port of loopback."""
    relay, ready = Relay(port), threading.Event()
    thread = threading.Thread(target=relay.run, args=(ready,))
    thread.start()
    try:
        assert ready.wait(60)
        yield relay
    finally:
        relay.stop()
        thread.join(60)
