"""Which part of a line's translation belongs to which of its words: what subtitles in two languages stand on.

A translation is of sentences. Where both texts have as many of them they go together one by one, else as wholes; within
that a place in one text is as far from its beginning as in the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from appliance.recording.text_breaks import Atom, Break, atoms_of
from appliance.speech.types import Line


def with_translation(line: Line) -> list[Atom]:
    """The atoms of a line, those of its translation below them: all of them, in order."""
    atoms = atoms_of(line)
    if not line.translation or not atoms:
        return atoms
    below = atoms_of(replace(line, text=line.translation, words=()))
    parts, parts_below = _sentences(atoms), _sentences(below)
    if len(parts) != len(parts_below):
        parts, parts_below = [atoms], [below]
    return [atom for part, translated in zip(parts, parts_below, strict=True) for atom in _beside(part, translated)]


def _sentences(atoms: Sequence[Atom]) -> list[Sequence[Atom]]:
    """All of one text. The last one may have no end."""
    ends = [
        number
        for number, (atom, following) in enumerate(pairwise(atoms), 1)
        if atom.before(following) is Break.SENTENCE
    ]
    return [atoms[start:end] for start, end in pairwise([0, *ends, len(atoms)])]


def _beside(atoms: Sequence[Atom], below: Sequence[Atom]) -> list[Atom]:
    """Each atom with those whose middle is nearer to the beginning than its end is."""
    total, total_below = (sum(atom.units for atom in part) or 1 for part in (atoms, below))
    made: list[Atom] = []
    at = place = place_below = 0
    for number, atom in enumerate(atoms, 1):
        place += atom.units
        start = at
        while at < len(below) and (
            number == len(atoms) or (place_below + below[at].units / 2) * total <= place * total_below
        ):
            place_below += below[at].units
            at += 1
        made.append(replace(atom, below=tuple(below[start:at])))
    return made
