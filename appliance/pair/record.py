"""``pair.json``: what a baked pair is, where it came from, and how well its halves were proven to agree.

Nothing in it depends on when or where it was baked, so baking twice gives the same bytes.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance.pair.dimensions import Dimensions

RECORD_NAME = "pair.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The downloaded file: ``kind`` and ``describe`` say where from, ``format`` is ``ct2`` or ``pt``."""

    kind: str
    describe: str
    format: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the pair; ``path`` is relative to the folder of ``pair.json``."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ProofRecord:
    """Measured differences between a derived half and its origin, and what was allowed (see `proof`).

    The errors are given as the power of ten they stay below: their digits differ from one processor to
    the next. ``encoder_error_below`` is ``None`` where the encoder is the origin itself.
    """

    recording_sha256: str
    derived: str
    tokens: int
    encoder_error_below: float | None
    logits_error_below: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class PairRecord:
    """The content of ``pair.json``."""

    name: str
    dimensions: Dimensions
    alignment_heads: tuple[tuple[int, int], ...]
    licence: str
    source: SourceRecord
    tokenizer_sha256: str
    files: tuple[FileRecord, ...]
    proof: ProofRecord
    tools: dict[str, str]
    schema: int = SCHEMA_VERSION


def write_record(path: Path, record: PairRecord) -> None:
    path.write_text(json.dumps(asdict(record), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_record(path: Path) -> PairRecord:
    """Read a ``pair.json``.

    Raises:
        ApplianceError: it is not one of ours, or of a schema this version does not know.
    """
    content = _read_object(path)
    if content.get("schema") != SCHEMA_VERSION:
        raise _broken(path, f"schema {content.get('schema')!r} where {SCHEMA_VERSION} was expected")
    try:
        return PairRecord(
            name=str(content["name"]),
            dimensions=Dimensions(**content["dimensions"]),
            alignment_heads=_heads(path, content["alignment_heads"]),
            licence=str(content["licence"]),
            source=SourceRecord(**content["source"]),
            tokenizer_sha256=str(content["tokenizer_sha256"]),
            files=tuple(FileRecord(**row) for row in content["files"]),
            proof=ProofRecord(**content["proof"]),
            tools=dict(content["tools"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from error


def read_config_heads(path: Path) -> tuple[tuple[int, int], ...]:
    """``alignment_heads`` of a CTranslate2 ``config.json``; empty where it gives none.

    Raises:
        ApplianceError: the file can't be read, or its heads are not pairs of numbers.
    """
    given = _read_object(path).get("alignment_heads")
    return () if given is None else _heads(path, given)


def _heads(path: Path, given: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(given, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in given
    ):
        raise _broken(path, "'alignment_heads' is not a list of [layer, head]")
    return tuple((pair[0], pair[1]) for pair in given)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(content, dict):
        raise _broken(path, "it is not an object")
    return content


def _broken(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        f"{path} can't be used: {why}", "bake the pair again, or copy the file again", code="broken_model"
    )
