"""What a client saw of a transcript, and when: the log that every figure is made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.words import normalise


@dataclass(frozen=True, slots=True)
class Event:
    """An update that changed something, ``at_s`` seconds after the first audio.

    The committed text is the first ``kept`` characters of the committed text before, and ``added``; kept as a
    difference, for the whole text a thousand times over would be gigabytes in an hour.
    """

    at_s: float
    kept: int
    added: str
    tentative: str


@dataclass(slots=True)
class EventLog:
    """Events in the order of their arrival; updates that change nothing are left out."""

    events: list[Event] = field(default_factory=list)
    committed: str = ""
    tentative: str = ""

    def add(self, at_s: float, committed: str, tentative: str) -> None:
        if (committed, tentative) == (self.committed, self.tentative):
            return
        grown = committed.startswith(self.committed)  # nearly always; an hour's text is long to go through
        kept = len(self.committed) if grown else _common(self.committed, committed)
        self.events.append(Event(at_s, kept, committed[kept:], tentative))
        self.committed, self.tentative = committed, tentative

    @property
    def shown(self) -> str:
        """Committed and tentative text together, as a reader sees them."""
        return f"{self.committed} {self.tentative}".strip()


@dataclass(frozen=True, slots=True)
class WordEvent:
    """The words are the first ``kept`` of the words before, and ``added``; ``taken_back`` stood after those."""

    at_s: float
    kept: int
    added: tuple[str, ...]
    taken_back: int


def word_events(events: Sequence[Event], language: str, *, shown: bool) -> Iterator[WordEvent]:
    """The committed (or with ``shown`` the committed and tentative) words over time, as `normalise` makes them."""
    text = ""
    visible: list[str] = []
    settled_chars = settled_words = 0  # both end before the last committed word, which may still grow
    for event in events:
        text = text[: event.kept] + event.added
        if event.kept < settled_chars:
            settled_chars = settled_words = 0
        now = normalise(text[settled_chars:], language)
        if shown:
            now += normalise(event.tentative, language)
        before = visible[settled_words:]
        same = _common(before, now)
        added, taken_back = tuple(now[same:]), len(before) - same
        if added or taken_back:
            visible[settled_words + same :] = added
            yield WordEvent(event.at_s, settled_words + same, added, taken_back)
        boundary = text.rfind(" ") + 1
        if boundary > settled_chars:
            settled_words += len(normalise(text[settled_chars:boundary], language))
            settled_chars = boundary


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words, or characters, two begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
