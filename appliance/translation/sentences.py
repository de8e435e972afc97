"""The sentences of a committed line: what is translated at once.

A sentence ends by its punctuation, at a long pause of the speaker, with its line, or where it gets too long. All but
the last one of a line are there for good, as long as the line only grows at its end.
"""

from dataclasses import dataclass

from appliance.recording.text_breaks import Atom, Break, atoms_of, spaced
from appliance.speech.types import Line

PAUSE_S = 1.0
"""Silence after which it is another sentence."""

LONG_UNITS, LONGEST_UNITS = 1200, 2400
"""150 and 300 narrow characters, or 57 and 114 wide ones: a sentence longer than that ends at the next comma or pause,
or wherever it is. Models of sentences leave out parts of long ones."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """``is_whole``: its end was heard; otherwise it may still grow."""

    text: str
    is_whole: bool


def sentences_of(line: Line) -> list[Sentence]:
    """The sentences of a line, in order. Only the last one may not be whole."""
    found: list[Sentence] = []
    text, units = "", 0
    atoms = atoms_of(line)
    for number, atom in enumerate(atoms):
        following = atoms[number + 1] if number + 1 < len(atoms) else None
        text += atom.text
        units += atom.units
        if _ends(atom, following, units):
            found.append(Sentence(text.strip(), is_whole=True))
            text, units = "", 0
    if text.strip():
        found.append(Sentence(text.strip(), is_whole=False))
    return found


def joined(texts: list[str]) -> str:
    """Sentences one after the other, with a space where their script has one."""
    whole = ""
    for text in filter(None, texts):
        gap = " " if whole and spaced(whole[-1]) and spaced(text[0]) else ""
        whole += gap + text
    return whole


def _ends(atom: Atom, following: Atom | None, units: int) -> bool:
    if following is None:
        return atom.ends is Break.SENTENCE
    place = atom.before(following)
    return (
        place is Break.SENTENCE
        or following.start_s - atom.end_s >= PAUSE_S
        or units >= LONGEST_UNITS
        or (units >= LONG_UNITS and place in (Break.CLAUSE, Break.PAUSE))
    )
