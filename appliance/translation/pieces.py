"""Text to the pieces of a translation model's vocabulary, and back: by SentencePiece, or by a ``tokenizer.json``."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from appliance.errors import ApplianceError

_SPACE = "▁"


class Pieces(Protocol):
    """A tokenizer. Any number of threads."""

    def cut(self, text: str) -> list[str]:
        """The pieces of a text; `joined` undoes it, but for what normalization changed.

        Raises:
            ValueError: this tokenizer has no pieces for it.
        """


def load_pieces(folder: Path) -> Pieces:
    """The tokenizer of a model's folder.

    Raises:
        ApplianceError: there is none, more than one, or a broken one.
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
    return TokenizerPieces(file)


def joined(pieces: Sequence[str]) -> str:
    """The text of pieces."""
    return "".join(pieces).replace(_SPACE, " ").strip()


class TokenizerPieces:
    """By a ``tokenizer.json``."""

    def __init__(self, file: Path) -> None:
        """Load it.

        Raises:
            ApplianceError: the file can't be read, or is none.
        """
        try:
            with _PlainErrors():
                self._tokenizer = Tokenizer.from_file(str(file))
        except ValueError as error:
            raise _broken(file, str(error)) from error

    def cut(self, text: str) -> list[str]:
        with _PlainErrors():
            return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)


class _PlainErrors(AbstractContextManager[None]):
    """Makes a `ValueError` of what tokenizers raises: an `Exception`, and of no other class."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is Exception:
            raise ValueError(str(error)) from error


class SentencePieces:
    """By a SentencePiece model."""

    def __init__(self, file: Path) -> None:
        """Load it.

        Raises:
            ApplianceError: the file can't be read, or is none.
        """
        try:
            self._processor = SentencePieceProcessor(model_proto=file.read_bytes())
            has_pieces = self._processor.get_piece_size() > 0
        except (OSError, RuntimeError) as error:
            raise _broken(file, str(error)) from error
        if not has_pieces:
            raise _broken(file, "it is no SentencePiece model")

    def cut(self, text: str) -> list[str]:
        return list(self._processor.encode(text, out_type=str))


def _broken(file: Path, why: str) -> ApplianceError:
    return ApplianceError(f"can't use {file}: {why}", "copy it again from where it came", code="bad_translation")
