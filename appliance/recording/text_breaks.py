"""Where written text may be broken, and how wide it is: what the cutting of subtitles stands on."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from appliance.speech.types import Line, Word

_NARROW, _WIDE = 8, 21
LINE_UNITS = 42 * _NARROW
"""Room of a line, which is 42 characters or 16 full-width ones (16 x 21 = 42 x 8)."""

PAUSE_S = 0.5
"""Between two words, long enough to be heard as a pause: word times are nearer to the middles than to the edges."""

_SENTENCE = frozenset(".?!…。？！．｡؟۔।॥።")
_CLAUSE = frozenset(",;:–—、，；：､،؛")
_CLOSERS = frozenset({"Pe", "Pf", "Pi"})
_QUOTES = "\"'"
_NOT_FIRST = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々〻ゝゞヽヾ")
"""Japanese small letters and repetition marks: no line begins with one."""

_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "vs", "etc", "e.g", "i.e"})
_WORDS = re.compile(r"\s*\S+")


class Break(Enum):
    """What stands at a place where text may be broken; the first is the best place."""

    SENTENCE = "sentence"
    CLAUSE = "clause"
    PAUSE = "pause"
    SPACE = "space"


@dataclass(frozen=True, slots=True)
class Atom:
    """What is never broken: a word with its marks, or a character of a script without spaces.

    ``units``: its width with its leading space, of a line's `LINE_UNITS`. ``ends``: by its punctuation. ``below``: what
    of a translation stands with it; none in most, for words are not told apart there.
    """

    text: str
    start_s: float
    end_s: float
    units: int
    ends: Break
    below: tuple["Atom", ...] = ()

    def before(self, following: "Atom") -> Break:
        """The kind of place between this atom and the next."""
        if self.ends is Break.SENTENCE and not following.text.lstrip()[:1].islower():
            return Break.SENTENCE
        if self.ends is not Break.SPACE:
            return Break.CLAUSE
        return Break.PAUSE if following.start_s - self.end_s >= PAUSE_S else Break.SPACE


def atoms_of(line: Line) -> list[Atom]:
    """The atoms of a line, in order; one without words gets times by the length of its text."""
    words: Sequence[Word] = line.words or _spread(Word(f" {line.text.strip()}", line.start_s, line.end_s, 0.0))
    joined: list[Word] = []
    for number, word in enumerate(word for word in words if word.text.strip()):
        # Lines are set apart by a space, which the first word of one may lack.
        text = f" {word.text.lstrip()}" if number == 0 and spaced(word.text.lstrip()[0]) else word.text
        if joined and not may_break(joined[-1].text, text):
            last = joined[-1]
            joined[-1] = replace(last, text=last.text + text, end_s=max(last.end_s, word.end_s))
        else:
            joined.append(replace(word, text=text, end_s=max(word.start_s, word.end_s)))
    whole = [piece for word in joined for piece in (_spread(word) if width(word.text) > LINE_UNITS else [word])]
    return [Atom(word.text, word.start_s, word.end_s, width(word.text), _ends(word.text)) for word in whole]


def width(text: str) -> int:
    """Width in units; marks that combine with a letter take none."""
    return sum(_units(character) for character in text)


def may_break(before: str, after: str) -> bool:
    """Whether a line may end after one text and begin with the other."""
    if after[0].isspace() or before[-1].isspace():
        return True
    if unicodedata.category(after[0])[0] == "M" or unicodedata.category(after[0]) in ("Pe", "Pf", "Po"):
        return False
    if unicodedata.category(before[-1]) in ("Ps", "Pi") or after[0] in _NOT_FIRST:
        return False
    return not spaced(before[-1]) or not spaced(after[0])


def _units(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _NARROW


def spaced(character: str) -> bool:
    """Whether words of this character's script are set apart by spaces."""
    code = ord(character)
    if 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF:  # Thai, Lao, Burmese, Khmer
        return False
    is_hangul = 0x1100 <= code <= 0x11FF or 0x3130 <= code <= 0x318F or 0xAC00 <= code <= 0xD7AF
    return is_hangul or unicodedata.east_asian_width(character) not in "WF"


def _ends(text: str) -> Break:
    bare = text.strip()
    while bare and (bare[-1] in _QUOTES or unicodedata.category(bare[-1]) in _CLOSERS):
        bare = bare[:-1]
    if bare[-1:] in _CLAUSE:
        return Break.CLAUSE
    if not bare or bare[-1] not in _SENTENCE:
        return Break.SPACE
    word = bare[:-1].lower()
    is_short = bare[-1] == "." and (word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()))
    return Break.SPACE if is_short else Break.SENTENCE


def _spread(word: Word) -> list[Word]:
    """A long text as pieces that fit a line, with times by their widths."""
    pieces = [piece for text in _WORDS.findall(word.text) for piece in _pieces(text)]
    total = max(1, width(word.text))
    spread, before = [], 0
    for piece in pieces:
        after = before + width(piece)
        start_s, end_s = (word.start_s + (word.end_s - word.start_s) * at / total for at in (before, after))
        spread.append(replace(word, text=piece, start_s=start_s, end_s=end_s))
        before = after
    return spread


def _pieces(text: str) -> Iterator[str]:
    """One word without spaces inside, cut where a script without spaces may be, and where a line is full."""
    piece = ""
    for character in text:
        full = width(piece + character) > LINE_UNITS
        if piece.strip() and (full or (not spaced(piece[-1]) and may_break(piece, character))):
            yield piece
            piece = ""
        piece += character
    if piece:
        yield piece
