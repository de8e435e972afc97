"""What is new for a client, in particular for one that comes back at the very end."""

import asyncio
from concurrent.futures import Future

import pytest

from appliance.server.news import News
from appliance.speech.live import LiveStream, OnSnapshot
from appliance.speech.types import Line, Samples, Snapshot, Speaker

LAST = Snapshot((Line(Speaker(1), "all of it", 0.0, 1.0, "en"),), 0, "", 1.0, 1.0)


class Ended:
    """A stream that has said all."""

    backlog_s = 0.0

    def __init__(self) -> None:
        self.finished: Future[Snapshot] = Future()
        self.finished.set_result(LAST)

    def feed(self, samples: Samples) -> None: ...
    def finish(self) -> None: ...
    def set_language(self, language: str) -> None: ...
    def close(self) -> None: ...


class Talking(Ended):
    """A stream that says what a test tells it to."""

    def __init__(self, on_snapshot: OnSnapshot) -> None:
        self.finished = Future()
        self.say = on_snapshot


def opened(on_snapshot: OnSnapshot) -> LiveStream:
    return Ended()


def test_whoever_takes_slowly_gets_the_newest_state_and_no_queue() -> None:
    async def run() -> None:
        made: list[Talking] = []

        def opened(on_snapshot: OnSnapshot) -> LiveStream:
            made.append(Talking(on_snapshot))
            return made[0]

        shown: asyncio.Queue[Snapshot] = asyncio.Queue()
        news = News(opened, shown.put_nowait)
        updates = news.updates()
        for count in (1, 100):
            states = [Snapshot((), 0, f"{count} {number}", number, 0.0) for number in range(count)]
            for state in states:
                made[0].say(state)
            assert [await shown.get() for _ in states] == states
            assert (await anext(updates))[0] is states[-1], "of a hundred the last one, and next"
        made[0].finished.set_result(LAST)
        assert [latest async for latest, _ in updates] == [LAST]

    asyncio.run(asyncio.wait_for(run(), 20))


def test_the_last_state_is_told_again_to_one_who_came_back_while_it_was_sent() -> None:
    async def run() -> None:
        news = News(opened)
        await news.over.wait()
        updates = news.updates()
        assert (await anext(updates))[0] is LAST
        news.again()
        assert news.untold
        assert (await anext(updates))[0] is LAST and not news.untold
        with pytest.raises(StopAsyncIteration):
            await anext(updates)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_whoever_comes_after_the_last_update_is_known_to_have_heard_nothing() -> None:
    async def run() -> None:
        news = News(opened)
        await news.over.wait()
        assert [latest async for latest, _ in news.updates()] == [LAST]
        assert not news.untold
        news.again()
        assert news.untold

    asyncio.run(asyncio.wait_for(run(), 20))
