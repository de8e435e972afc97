"""Text to the pieces of a translation model's vocabulary, and back.

A folder brings its tokenizer as a SentencePiece model of the kind BPE, or as ``tokenizer.json``. The first is read here
by its published description (``sentencepiece_model.proto``), so that nothing more need be installed. Its algorithm:
characters are joined pair by pair, always the pair whose piece has the highest score, the first one of equals.
"""

import heapq
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from appliance.errors import ApplianceError

_SPACE = "▁"
_NORMAL, _CONTROL_KINDS = 1, (2, 3)
_BPE = 2


class Pieces(Protocol):
    """A tokenizer."""

    def cut(self, text: str) -> list[str]:
        """The pieces of a text; `joined` undoes it, but for what normalization changed."""


def load_pieces(folder: Path) -> Pieces:
    """The tokenizer of a model's folder.

    Raises:
        ApplianceError: there is none, more than one, or one of another kind.
    """
    models = sorted(folder.glob("*.model"))
    if len(models) == 1:
        return SentencePieces(models[0])
    file = folder / "tokenizer.json"
    if models or not file.is_file():
        raise ApplianceError(
            f"no tokenizer in {folder}: it needs one SentencePiece model (*.model), or else tokenizer.json",
            "copy sentencepiece.bpe.model of the original model into it",
            code="bad_translation",
        )
    return TokenizerPieces(Tokenizer.from_file(str(file)))


def joined(pieces: Sequence[str]) -> str:
    """The text of pieces."""
    return "".join(pieces).replace(_SPACE, " ").strip()


class TokenizerPieces:
    """By a ``tokenizer.json``."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def cut(self, text: str) -> list[str]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)


class SentencePieces:
    """By a SentencePiece model of the kind BPE. Any number of threads.

    Raises:
        ApplianceError: the file is none, or of another kind.
    """

    def __init__(self, file: Path) -> None:
        self._scores: dict[str, float] = {}
        charsmap = b""
        kind = 0
        try:
            for number, value in _fields(file.read_bytes()):
                if number == 1:
                    piece, score, piece_kind = _piece(value)
                    if piece_kind not in _CONTROL_KINDS:
                        self._scores[piece] = score
                elif number == 2:
                    kind = next((_varint(found, 0)[0] for key, found in _fields(value) if key == 3), 1)
                elif number == 3:
                    charsmap = next((bytes(found) for key, found in _fields(value) if key == 2), b"")
        except (OSError, ValueError, struct.error, IndexError) as error:
            raise _broken(file, str(error)) from error
        if kind != _BPE or not self._scores:
            raise _broken(file, "it is no SentencePiece model of the kind BPE, which NLLB and M2M100 have")
        self._normalizer = _Normalizer(charsmap) if charsmap else None

    def cut(self, text: str) -> list[str]:
        if self._normalizer:
            text = self._normalizer.normal(text)
        text = _SPACE.join(["", *filter(None, text.split(" "))])
        return self._known(self._merged(list(text)))

    def _merged(self, symbols: list[str]) -> list[str]:
        """Symbols joined as far as it goes. One that went into the symbol before it is left as an empty string."""
        following = [*range(1, len(symbols)), -1]
        before = [*range(-1, len(symbols) - 1)]
        waiting: list[tuple[float, int, int, str]] = []

        def offer(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                piece = symbols[left] + symbols[right]
                if piece in self._scores:
                    heapq.heappush(waiting, (-self._scores[piece], left, right, piece))

        for right in range(1, len(symbols)):
            offer(right - 1, right)
        while waiting:
            _, left, right, piece = heapq.heappop(waiting)
            if following[left] != right or not symbols[left] or symbols[left] + symbols[right] != piece:
                continue
            symbols[left], symbols[right] = piece, ""
            following[left] = after = following[right]
            if after >= 0:
                before[after] = left
            offer(before[left], left)
            offer(left, after)
        return [symbol for symbol in symbols if symbol]

    def _known(self, pieces: Sequence[str]) -> list[str]:
        """Neighbours that the vocabulary lacks are one piece."""
        found: list[str] = []
        was_known = True
        for piece in pieces:
            is_known = piece in self._scores
            if is_known or was_known:
                found.append(piece)
            else:
                found[-1] += piece
            was_known = is_known
        return found


class _Normalizer:
    """The longest of the sequences in a table are replaced, from the left; the rest stays.

    The table: u32 size of a trie, the trie, and what it points to, strings that end with NUL. The trie is a double
    array of u32 as Darts-clone has it, over UTF-8 bytes.
    """

    def __init__(self, table: bytes) -> None:
        (size,) = struct.unpack_from("<I", table)
        self._units = struct.unpack_from(f"<{size // 4}I", table, 4)
        self._replacements = table[4 + size :]

    def normal(self, text: str) -> str:
        data = text.encode()
        made = bytearray()
        at = 0
        while at < len(data):
            length, value = self._longest(data, at)
            if length:
                made += self._replacements[value : self._replacements.index(0, value)]
            else:
                length = 1
                while at + length < len(data) and data[at + length] & 0xC0 == 0x80:
                    length += 1
                made += data[at : at + length]
            at += length
        return made.decode()

    def _longest(self, data: bytes, start: int) -> tuple[int, int]:
        """Length and value of the longest sequence of the trie that begins here; 0 where there is none."""
        found = (0, 0)
        node = _offset(self._units[0])
        for at in range(start, len(data)):
            node ^= data[at]
            unit = self._units[node]
            if unit & 0x8000_00FF != data[at]:
                break
            node ^= _offset(unit)
            if unit & 0x100:
                found = at + 1 - start, self._units[node] & 0x7FFF_FFFF
        return found


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _piece(data: memoryview) -> tuple[str, float, int]:
    """Text, score and kind."""
    text, score, kind = "", 0.0, _NORMAL
    for number, value in _fields(data):
        if number == 1:
            text = bytes(value).decode()
        elif number == 2:
            (score,) = struct.unpack("<f", value)
        elif number == 3:
            kind = _varint(value, 0)[0]
    return text, score, kind


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a protocol buffer's message: number, and content (of a number its bytes)."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        kind = key & 7
        if kind == 0:
            end = _varint(view, at)[1]
        elif kind == 2:
            size, at = _varint(view, at)
            end = at + size
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"no protocol buffer: field of the kind {kind}")
        if end > len(view):
            raise ValueError("it ends too early")
        yield key >> 3, view[at:end]
        at = end


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _broken(file: Path, why: str) -> ApplianceError:
    return ApplianceError(f"can't use {file}: {why}", "copy it again from where it came", code="bad_translation")
