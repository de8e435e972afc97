"""A relay between a real client and a real server: what it hands on, cuts, and leaves behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.soak.relay import relaying


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that says what it is told; its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


def test_it_hands_on_both_ways_and_counts() -> None:
    async def run() -> None:
        async with echoing() as server, relaying(server) as (relay, port):
            for number in (1, 2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                assert relay.connections == number
                writer.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_cut_both_sides_are_reset_and_the_next_is_taken() -> None:
    async def run() -> None:
        async with echoing() as server, relaying(server) as (relay, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            await reader.readexactly(5)
            relay.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_held_nothing_comes_and_later_all_of_it() -> None:
    async def run() -> None:
        async with echoing() as server, relaying(server) as (relay, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            holding = asyncio.create_task(relay.hold(0.5))
            await asyncio.sleep(0)
            writer.write(b"hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
            await holding
            assert await reader.readexactly(5) == b"hello"
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_left_in_the_middle_it_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """As at Ctrl-C, when clients are connected."""

    async def leave() -> None:
        async with echoing() as server, relaying(server) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            await reader.readexactly(5)

    asyncio.run(leave())
    assert [record.getMessage() for record in caplog.records] == []
