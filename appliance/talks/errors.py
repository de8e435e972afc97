"""How well speakers are told apart: the diarization error rate, and reading who really spoke.

Method: NIST's diarization error rate, as pyannote.metrics computes it: missed speech, false speech and speech of the
wrong speaker over the speech of the reference, speakers matched one to one so that most agrees; what is within half a
collar of a boundary of the reference is not counted. Overlapping speech counts once for each speaker.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from appliance.errors import ApplianceError

COLLAR_S = 0.25
"""Not counted around each boundary of the reference: half before, half after."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Somebody speaks."""

    speaker: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class DiarizationError:
    """Seconds of speech: what the reference has, and what went wrong with it."""

    reference_s: float
    missed_s: float
    false_s: float
    confused_s: float

    @property
    def wrong_s(self) -> float:
        return self.missed_s + self.false_s + self.confused_s

    @property
    def rate(self) -> float:
        return self.wrong_s / self.reference_s if self.reference_s else float(self.wrong_s > 0)


def total(errors: Sequence[DiarizationError]) -> DiarizationError:
    """Of several recordings: each counts by the speech in it."""
    return DiarizationError(
        sum(error.reference_s for error in errors),
        sum(error.missed_s for error in errors),
        sum(error.false_s for error in errors),
        sum(error.confused_s for error in errors),
    )


def diarization_error(
    reference: Sequence[Spoken], found: Sequence[Spoken], collar_s: float = COLLAR_S
) -> DiarizationError:
    """What is wrong with the turns found. Turns of one speaker may touch or overlap."""
    half = collar_s / 2
    spared = [(edge - half, edge + half) for turn in reference for edge in (turn.start_s, turn.end_s)]
    edges = sorted(
        {edge for turn in (*reference, *found) for edge in (turn.start_s, turn.end_s)}
        | {edge for span in spared for edge in span}
    )
    reference_s = missed_s = false_s = 0.0
    matched_s = 0.0
    together: dict[tuple[str, str], float] = {}
    for start, end in pairwise(edges):
        middle = (start + end) / 2
        if any(one <= middle <= other for one, other in spared):
            continue
        real, heard = _speaking(reference, middle), _speaking(found, middle)
        length = end - start
        reference_s += length * len(real)
        missed_s += length * max(0, len(real) - len(heard))
        false_s += length * max(0, len(heard) - len(real))
        matched_s += length * min(len(real), len(heard))
        for one in real:
            for other in heard:
                together[one, other] = together.get((one, other), 0.0) + length
    return DiarizationError(reference_s, missed_s, false_s, matched_s - _best_match(together))


def read_rttm(file: Path) -> list[Spoken]:
    """The turns of a file in NIST's format.

    Raises:
        ApplianceError: it can't be read.
    """
    try:
        rows = [row.split() for row in file.read_text(encoding="utf-8").splitlines()]
        return [
            Spoken(row[7], float(row[3]), float(row[3]) + float(row[4])) for row in rows if row and row[0] == "SPEAKER"
        ]
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        raise ApplianceError(
            f"{file} can't be read as RTTM: {error}", "rows as: SPEAKER FILE 1 START LENGTH <NA> <NA> NAME <NA> <NA>"
        ) from error


def _speaking(turns: Iterable[Spoken], at_s: float) -> set[str]:
    return {turn.speaker for turn in turns if turn.start_s <= at_s < turn.end_s}


def _best_match(together: Mapping[tuple[str, str], float]) -> float:
    """Most seconds in which both agree, speakers matched one to one."""
    real = sorted({one for one, _ in together})
    heard = sorted({other for _, other in together})

    @cache
    def best(row: int, taken: frozenset[str]) -> float:
        if row == len(heard):
            return 0.0
        agreed = [
            together[one, heard[row]] + best(row + 1, taken | {one})
            for one in real
            if one not in taken and (one, heard[row]) in together
        ]
        return max([best(row + 1, taken), *agreed])

    return best(0, frozenset())
