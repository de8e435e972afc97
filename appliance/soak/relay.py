"""A network between one client and the server that can be bad: cut without a word, or slow to deliver."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

_PIECE_BYTES = 64 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closed with a reset and no goodbye."""


class Relay:
    """Listens on loopback, and hands everything on; made by `relaying`, for one event loop."""

    def __init__(self, server_port: int) -> None:
        self.connections = 0
        """How many were made through it."""
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._delivers = asyncio.Event()
        self._delivers.set()

    def cut(self) -> None:
        """Reset what is connected now, both ways. New connections are taken as before."""
        for writer in list(self._writers):
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()

    async def hold(self, seconds: float) -> None:
        """Deliver nothing to the client for so long: it reads slowly. What it sends goes on."""
        self._delivers.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delivers.set()

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, to its end."""
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(to_server)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, to_server, delivers=False))
                pumps.create_task(self._pump(from_server, writer, delivers=True))
        finally:
            for each in (writer, to_server):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delivers: bool) -> None:
        """Hand on until one side ends, then tell the other."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                if delivers:
                    await self._delivers.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async def close(self) -> None:
        """Cut what is left, and see it end."""
        for task in self._serving:
            task.cancel()
        self.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)


@contextlib.asynccontextmanager
async def relaying(server_port: int) -> AsyncIterator[tuple[Relay, int]]:
    """A relay, and the port of loopback at which it listens."""
    relay = Relay(server_port)
    listener = await asyncio.start_server(relay.take, "127.0.0.1", 0)
    try:
        yield relay, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await relay.close()
