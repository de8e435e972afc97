"""The lines of a transcript with what is translated of them by now, and what is not. Used by one thread at a time."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Snapshot
from appliance.translation.languages import Languages
from appliance.translation.sentences import PAUSE_S, Sentence, joined, sentences_of
from appliance.translation.translator import Job

_REMEMBERED = 256
"""Translations kept by their text: lines are cut anew while their speakers may change, and what was tentative is
committed as it was."""


@dataclass(slots=True)
class _Entry:
    """A line, and with its translation; where it is to have one, its sentences and those of theirs that there are.

    ``is_closed``: the line does not grow any more. A translation is None where that failed: the rest has none then.
    """

    line: Line
    is_closed: bool
    jobs: Sequence[Job]
    tail: str
    shown: Line
    done: tuple[str | None, ...] = ()

    @property
    def wanted(self) -> Sequence[Job]:
        return () if None in self.done else self.jobs[len(self.done) :]

    def add(self, translation: str | None) -> None:
        self.done = (*self.done, translation)
        text = joined([text for text in self.done if text])
        self.shown = replace(self.line, translation=text) if text else self.line


class TranslatedLines:
    """Give it each snapshot and each translation; it says what is to be translated, and what to show.

    Args:
        languages: of the model.
        target: the code of the language to translate into.
        source: the code of all lines' language, where it is not that of each line: of what Whisper translated itself.
        spoken: the language of what is said before there is a line, where that is known.
    """

    def __init__(
        self, languages: Languages, target: str, *, source: str | None = None, spoken: str | None = None
    ) -> None:
        self.spoken = spoken
        self._languages = languages
        self._target = target
        self._source = source
        self._entries: list[_Entry] = []
        self._pruned = 0
        self._snapshot = Snapshot((), 0, "", 0.0, 0.0)
        self._is_final = False
        self._known: OrderedDict[Job, str | None] = OrderedDict()
        self._rest: Sequence[Job] = ()
        self._guess = ((0, 0), "")
        """The tentative translation, and where it begins: line and sentence."""

    def update(self, snapshot: Snapshot, *, is_final: bool = False) -> None:
        """Take over a state of the transcript. ``is_final``: it does not grow any more."""
        del self._entries[: snapshot.pruned - self._pruned]
        self._pruned = snapshot.pruned
        pauses = not snapshot.tentative.strip() and not snapshot.undiarized.strip()
        last = len(snapshot.lines) - 1
        for at, line in enumerate(snapshot.lines):
            is_closed = at < last or is_final or (pauses and snapshot.decided_s - line.end_s >= PAUSE_S)
            old = self._entries[at] if at < len(self._entries) else None
            if old is None or (old.line is not line and old.line != line) or old.is_closed != is_closed:
                self._entries[at : at + 1] = [self._entry(line, is_closed=is_closed)]
        del self._entries[last + 1 :]
        self._snapshot, self._is_final = snapshot, is_final
        self._look_at_rest()

    def committed(self, most: int) -> list[Job]:
        """Sentences that want their translation, from the first on."""
        return list(islice(dict.fromkeys(self._wanted()), most))

    def tentative(self) -> list[Job]:
        """What has no line's translation, as far as it was not translated as it stands now."""
        return [job for job in self._rest if job not in self._known]

    def take(self, job: Job, translation: str | None) -> None:
        """A translation; None where it failed."""
        self._known[job] = translation
        for entry in self._entries:
            if job in entry.wanted:
                self._fill(entry)
        self._look_at_rest()
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def snapshot(self) -> Snapshot:
        """What to show now."""
        begin, guess = self._guess
        shown = guess if self._rest and begin == self._begin() else ""
        return replace(self._snapshot, lines=tuple(entry.shown for entry in self._entries), translation=shown)

    def _wanted(self) -> Iterator[Job]:
        for entry in self._entries:
            yield from (job for job in entry.wanted if job not in self._known)

    def _entry(self, line: Line, *, is_closed: bool) -> _Entry:
        source = None if line.speaker == SILENCE else self._source_of(line.language)
        sentences = sentences_of(line) if source else []
        if sentences and is_closed:
            sentences[-1] = Sentence(sentences[-1].text, is_whole=True)
        jobs = [Job(sentence.text, source, self._target) for sentence in sentences if source and sentence.is_whole]
        tail = "".join(sentence.text for sentence in sentences if not sentence.is_whole)
        entry = _Entry(line, is_closed, jobs, tail, line)
        self._fill(entry)
        return entry

    def _fill(self, entry: _Entry) -> None:
        for job in entry.wanted:
            if job not in self._known:
                break
            self._known.move_to_end(job)
            entry.add(self._known[job])

    def _source_of(self, language: str | None) -> str | None:
        """The language to translate from; None where there is nothing to do, or no way to do it."""
        code = self._source or language
        token = self._languages.token(code) if code else None
        return code if token and token != self._languages.token(self._target) else None

    def _begin(self) -> tuple[int, int]:
        done = len(self._entries[-1].done) if self._entries else 0
        return self._pruned + len(self._entries), done

    def _look_at_rest(self) -> None:
        """A translation of all that is tentative, where there is one; an older one stays as long as it may."""
        self._rest = self._rest_jobs()
        if self._rest and all(job in self._known for job in self._rest):
            self._guess = (self._begin(), joined([self._known[job] or "" for job in self._rest]))

    def _rest_jobs(self) -> Sequence[Job]:
        """The sentences from `_begin` on, as they stand now."""
        snapshot = self._snapshot
        spoken = next((line.language for line in reversed(snapshot.lines) if line.language), self.spoken)
        source = self._source_of(spoken)
        if source is None or self._is_final:
            return ()
        entry = self._entries[-1] if self._entries else None
        begun = [*(job.text for job in entry.wanted), entry.tail] if entry else []
        text = joined([*begun, snapshot.undiarized.strip(), snapshot.tentative.strip()])
        heard = sentences_of(Line(FIRST_SPEAKER, text, 0.0, 0.0)) if text else []
        return [Job(sentence.text, source, self._target) for sentence in heard]
