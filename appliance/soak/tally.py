"""All that happened in a soak, added up as it happens."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.soak.acts import Act
from appliance.soak.judging import Judged
from appliance.soak.session import Performed

FREED_S = 10.0
"""So long after its end, as the client sees it, a session may still hold its place in the server."""

RESUMABLE_S = 70.0
"""And after its connection was cut, as its client might come back for it."""

_MOST_REMARKS = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """``busy``: places that were taken, or may have been, as far as clients know; ``places``: those the server has."""

    at_s: float
    code: str
    busy: int
    places: int
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class Delay:
    """Of a word in a play: when it was spoken, and how long it then took to be committed."""

    at_s: float
    delay_s: float
    play: str


@dataclass(slots=True)
class Tally:
    """``places``: for how many clients the server says it has room. Times are seconds since the soak began."""

    places: int
    started_s: float = field(default_factory=time.monotonic)
    ended: Counter[str] = field(default_factory=Counter)
    """Streams by how they ended."""
    troubles: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """By their codes."""
    refusals: list[Refusal] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    resumed: int = 0
    unresumed: int = 0
    """Came back in time, and did not get their stream."""
    words: int = 0
    lost: int = 0
    twice: int = 0
    more_errors: int = 0
    remarks: list[str] = field(default_factory=list)
    """What went wrong, the first hundred."""
    wrong: int = 0
    """Answers that the protocol does not allow."""
    latest_send_s: float = 0.0
    _present: int = 0
    _left: list[float] = field(default_factory=list)
    """When the place of each that has left is surely free."""

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.started_s

    @contextmanager
    def present(self, act: Act) -> Iterator[None]:
        """For as long as a client is served."""
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1
            self._left.append(self.now_s + (RESUMABLE_S if act.trouble == "leave" else FREED_S))

    @property
    def busy(self) -> int:
        self._left = [free_s for free_s in self._left if free_s > self.now_s]
        return self._present + len(self._left)

    def add(self, play: str, act: Act, began_s: float, done: Performed, judged: Judged | None) -> None:
        """A stream has ended."""
        name = f"{play}, {act.form}, {act.trouble}, {'auto' if act.auto else 'told'}"
        if done.end == "refused":
            self.refusals.append(Refusal(self.now_s, done.code, self.busy, self.places, done.retry_after_s))
            return
        self.ended[done.end] += 1
        self.troubles[act.trouble] += 1
        self.forms[act.form] += 1
        if act.trouble == "drop" and done.end == "cut":
            self.unresumed += 1
            self._remark(f"{name}: not resumed: {done.code}: {done.why}")
        elif act.trouble == "drop":
            self.resumed += done.end == "done" and done.connections > 1
        elif done.connections > 1:
            self.wrong += 1
            self._remark(f"{name}: {done.connections} connections, and nothing had cut the first")
        self.latest_send_s = max(self.latest_send_s, done.late_s)
        if done.end == "error":
            self.errors[done.code] += 1
            self._remark(f"{name}: {done.code}: {done.why}")
        for what in done.wrong:
            self._remark(f"{name}: {what}")
        self.wrong += len(done.wrong)
        if judged:
            self.words += judged.words
            self.lost += judged.lost
            self.twice += judged.twice
            self.more_errors += judged.errors
            if judged.lost:
                self._remark(f"{name}: {judged.lost} words lost of {judged.words}, heard: {done.text!r}")
            if judged.twice:
                self._remark(f"{name}: {judged.twice} words said twice, heard: {done.text!r}")
        self.delays += [Delay(began_s + one.spoken_s, one.latency_s, play) for one in done.committed]

    def _remark(self, what: str) -> None:
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.append(what)
