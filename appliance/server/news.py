"""What a stream has found that its client was not told yet: the newest state, never a queue of older ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from appliance.speech.live import LiveStream, OnSnapshot
from appliance.speech.types import Snapshot

UPDATE_INTERVAL_S = 0.1
LAG_INTERVAL_S = 1.0
_NOTHING = Snapshot(lines=(), pruned=0, tentative="", received_s=0.0, decided_s=0.0)


class News:
    """Opens a stream, takes the snapshots that its threads hand over, and says when its client should have one."""

    def __init__(
        self,
        open_stream: Callable[[OnSnapshot], LiveStream],
        on_shown: Callable[[Snapshot], None] = lambda snapshot: None,
    ) -> None:
        """``on_shown``: called with each snapshot, in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._on_shown = on_shown
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self._told: Snapshot | None = _NOTHING
        self._told_lag_s = 0.0
        self.over = asyncio.Event()
        """Set once the stream has ended."""
        self.latest = _NOTHING
        self.stream = open_stream(lambda snapshot: self._soon(self._show, snapshot))
        self.stream.finished.add_done_callback(lambda _: self._soon(self._end))

    async def updates(self) -> AsyncIterator[tuple[Snapshot, float]]:
        """What to tell now, and how many seconds of audio are unheard; at most ten times a second.

        Ends with the stream, after its final state; how it ended, `stream` knows. Raises what was given to `fail`.
        """
        while True:
            await _at_most(LAG_INTERVAL_S, self._changed)
            self._changed.clear()
            if self._error:
                raise self._error
            over = self.over.is_set()
            lag_s = round(self.stream.backlog_s, 1)
            if self.latest is not self._told or lag_s != self._told_lag_s:
                self._told, self._told_lag_s = self.latest, lag_s
                yield self.latest, lag_s
            if over and not self.untold:
                return
            await self.pause()

    async def pause(self) -> None:
        """Wait as long as between two updates, or until the stream ends."""
        await _at_most(UPDATE_INTERVAL_S, self.over)

    @property
    def untold(self) -> bool:
        """Whether nothing was told since `again`."""
        return self._told is None

    def again(self) -> None:
        """Whoever is told now has heard nothing yet."""
        self._told, self._told_lag_s = None, 0.0
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """No more will come, for this reason."""
        self._error = error
        self._changed.set()

    def _soon(self, act: Callable[..., None], *words: Snapshot) -> None:
        """Called by the engine's threads."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it was stopped meanwhile
            self._loop.call_soon_threadsafe(act, *words)

    def _show(self, snapshot: Snapshot) -> None:
        self.latest = snapshot
        self._on_shown(snapshot)
        self._changed.set()

    def _end(self) -> None:
        finished = self.stream.finished
        if not finished.cancelled() and finished.exception() is None:
            self.latest = finished.result()
        self.over.set()
        self._changed.set()


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
