"""Who waits and who is let go of; the process itself is seen at work in test_endpoints.py."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.server.files.desk import Desk
from appliance.server.files.endpoints import patient
from appliance.server.settings import Settings


def test_a_stop_lets_go_of_all_that_wait_and_takes_no_more(pair: Pair) -> None:
    desk = Desk(Settings(), pair)

    async def waits() -> None:
        async with desk.until_close():
            await asyncio.sleep(60)

    async def run() -> list[BaseException | None]:
        waiting = [asyncio.ensure_future(waits()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not any(one.done() for one in waiting)
        desk.close()
        desk.close()
        return await asyncio.gather(*waiting, waits(), return_exceptions=True)

    ends = asyncio.run(run())
    assert [end.code for end in ends if isinstance(end, ApplianceError)] == ["restarting"] * 4


def test_a_time_limit_inside_is_its_own(pair: Pair) -> None:
    desk = Desk(Settings(), pair)

    async def run() -> None:
        async with desk.until_close(), asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_a_client_that_takes_nothing_is_gone() -> None:
    async def send(message: Message) -> None:
        await asyncio.sleep(60)

    with pytest.raises(ClientDisconnect):
        asyncio.run(patient(send, 0.01)({"type": "http.response.body"}))
