"""Subtitles from words with times: which words share a cue, where its lines break, when it shows.

Sizes follow Netflix's timed text style guides (general requirements, English, Chinese and Korean): at most two
lines of 42 characters, or of 16 full-width ones; at most 7 s; out-times up to half a second after the speech.
Each cue shows for 1 s where what follows leaves room. Words are never changed or left out, so fast speech
makes fast subtitles. A translation stands below, in two lines of its own.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from appliance.recording.text_breaks import LINE_UNITS, Atom, Break, width
from appliance.recording.two_languages import with_translation
from appliance.speech.types import SILENCE, Line, Speaker

MAX_S = 7.0
MIN_S = 1.0
"""How long a cue shows at most; and at least, where the next one leaves room."""

_LINGER_S = 0.5
_SHORTEST_S = 0.2
"""A cue shows this long in any case; the next one waits for it (times of words may coincide)."""

_LONG_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 2.5
"""No cue reaches over a longer pause than this: its end would be read long before it is said."""

_BREAK_COST = {Break.SENTENCE: 0.0, Break.CLAUSE: 0.4, Break.PAUSE: 0.6, Break.SPACE: 2.5}
_CUE_COST = 1.0
_MIXED_COST = 2.0
"""Of a cue that goes on after a sentence's end or a long pause: more than that of another cue, so that it is
done only with words too short for a cue of their own."""
_SHORT_COST = 2.0
_UNEVEN_COST = 0.5

_SRT = str.maketrans({"<": "‹", ">": "›"})
"""SubRip has no escapes: players take <...> for tags, and show &lt; as it stands."""
_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Cue:
    """One or two lines of text, shown from ``start_s`` to ``end_s``; the name of who speaks, where several do.

    ``below``: the same in another language, where there is one.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None
    below: tuple[str, ...] = ()


def cues(lines: Sequence[Line], *, named: bool = False) -> list[Cue]:
    """Cues of committed lines, in order, without overlap. Silence gives none, and no cue is of two speakers.

    ``named``: where there are several, the text says who when that changes.
    """
    spoken = [line for line in lines if line.speaker != SILENCE]
    names = speaker_names(spoken)
    several = len(names) > 1
    groups: list[Sequence[Atom]] = []
    speakers: list[str | None] = []
    for speaker, turn in itertools.groupby(spoken, lambda line: line.speaker):
        atoms = [atom for line in turn for atom in with_translation(line)]
        if not atoms:
            continue
        if several and named:
            atoms[0] = _naming(names[speaker], atoms[0])
        turn_groups = [atoms[start:end] for start, end in itertools.pairwise(_cuts(atoms))]
        groups += turn_groups
        speakers += [names[speaker] if several else None] * len(turn_groups)
    timed = _timed(groups)
    return [replace(cue, speaker=speaker) for cue, speaker in zip(timed, speakers, strict=True)]


def speaker_names(lines: Iterable[Line]) -> dict[Speaker, str]:
    """What to call the speakers of these lines: by name, where one of their lines has it."""
    names: dict[Speaker, str] = {}
    for line in lines:
        if line.name or line.speaker not in names:
            names[line.speaker] = line.name or f"Speaker {line.speaker}"
    return names


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip; ``<`` and ``>`` become ``‹`` and ``›``."""
    blocks = []
    for number, cue in enumerate(cues, 1):
        times = f"{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}"
        blocks.append("\n".join((str(number), times, *(line.translate(_SRT) for line in (*cue.lines, *cue.below)))))
    return "".join(f"{block}\n\n" for block in blocks)


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT; ``&``, ``<`` and ``>`` are escaped, so no text can hold ``-->``. Translations have a class."""
    blocks = ["WEBVTT"]
    for cue in cues:
        times = f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}"
        voice = f"<v {cue.speaker.translate(_VTT)}>" if cue.speaker else ""
        below = [f"<c.translation>{line.translate(_VTT)}</c>" for line in cue.below]
        blocks.append(f"{times}\n{voice}" + "\n".join((*(line.translate(_VTT) for line in cue.lines), *below)))
    return "\n\n".join(blocks) + "\n"


def _naming(name: str, atom: Atom) -> Atom:
    """The first atom of a turn, with the speaker's name before it."""
    text = f" {name}: {atom.text.lstrip()}"
    return replace(atom, text=text, units=width(text))


def _clock(seconds: float, point: str) -> str:
    """``hh:mm:ss.mmm``; more than two digits from 100 hours on."""
    milliseconds = round(max(0.0, seconds) * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{rest:03d}"


def _cuts(atoms: Sequence[Atom]) -> list[int]:
    """Where cues begin, with the end: the cheapest way to cut all atoms into cues that fit (dynamic programming)."""
    best = [0.0] + [math.inf] * len(atoms)
    came_from = [0] * (len(atoms) + 1)
    for start in range(len(atoms)):
        for end, cost in _costs_from(atoms, start):
            if best[start] + cost < best[end]:
                best[end], came_from[end] = best[start] + cost, start
    cuts = [len(atoms)]
    while cuts[-1] > 0:
        cuts.append(came_from[cuts[-1]])
    return cuts[::-1]


def _costs_from(atoms: Sequence[Atom], start: int) -> list[tuple[int, float]]:
    """(end, cost) of each cue that begins with an atom and fits; one atom alone always does."""
    found: list[tuple[int, float]] = []
    units, first_line, mixed, units_below = 0, 0, 0, 0
    for end in range(start + 1, len(atoms) + 1):
        last = atoms[end - 1]
        units += last.units
        units_below += sum(atom.units for atom in last.below)
        if units <= LINE_UNITS:
            first_line = units
        alone = end == start + 1
        is_full = units - first_line > LINE_UNITS or units_below > 2 * LINE_UNITS
        if not alone and (is_full or last.end_s - atoms[start].start_s > MAX_S):
            break
        following_s = atoms[end].start_s if end < len(atoms) else math.inf
        shown_s = min(following_s, last.end_s + _LINGER_S) - atoms[start].start_s
        cost = _CUE_COST + _MIXED_COST * mixed + _UNEVEN_COST * (1 - units / (2 * LINE_UNITS)) ** 2
        place = last.before(atoms[end]) if end < len(atoms) else Break.SENTENCE
        cost += _BREAK_COST[place]
        if shown_s < MIN_S:
            cost += _SHORT_COST
        found.append((end, cost))
        pause_s = following_s - last.end_s
        if pause_s > _LONGEST_PAUSE_S:
            break
        mixed += place is Break.SENTENCE or pause_s >= _LONG_PAUSE_S
    return found


def _timed(groups: Sequence[Sequence[Atom]]) -> list[Cue]:
    made: list[Cue] = []
    free_s = 0.0
    for group, following in itertools.zip_longest(groups, groups[1:]):
        start_s = max(group[0].start_s, free_s)
        said_s = max(group[-1].end_s, start_s)
        wanted_s = min(max(said_s + _LINGER_S, start_s + MIN_S), start_s + MAX_S)
        limit_s = following[0].start_s if following else math.inf
        free_s = max(min(wanted_s, limit_s), start_s + _SHORTEST_S)
        below = [atom for whole in group for atom in whole.below]
        made.append(Cue(start_s, free_s, _broken(group), below=_broken(below) if below else ()))
    return made


def _broken(group: Sequence[Atom]) -> tuple[str, ...]:
    """One line where it fits; else two, broken at the best place: punctuation first, then the middle."""
    total = sum(atom.units for atom in group)
    if total <= LINE_UNITS or len(group) == 1:
        return (_joined(group),)
    best, at, first = math.inf, 1, 0
    for number, (atom, following) in enumerate(itertools.pairwise(group), 1):
        first += atom.units
        longer = max(first, total - first)
        cost = _BREAK_COST[atom.before(following)] + abs(total - 2 * first) / LINE_UNITS
        if longer > LINE_UNITS:
            cost += 100 * longer
        if cost < best:
            best, at = cost, number
    return _joined(group[:at]), _joined(group[at:])


def _joined(group: Sequence[Atom]) -> str:
    return " ".join("".join(atom.text for atom in group).split())
