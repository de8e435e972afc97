"""Baking: from one downloaded file to a proven pair, whole or not at all.

Weights come from the source as they are (a CTranslate2 ``model.bin`` is linked or copied unchanged);
tokenizer, vocabulary and configuration are made the same way for every source. Imports torch only when
there is something to make.
"""

import errno
import fcntl
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.fetch import Artifact
from appliance.manifest import WhisperModel
from appliance.pair.decoder_file import FILE_NAME, write_decoder
from appliance.pair.dimensions import Dimensions
from appliance.pair.locate import DECODER_PREFIX, ENCODER_PREFIX, Pair, find_pair, open_pair
from appliance.pair.record import (
    RECORD_NAME,
    FileRecord,
    PairRecord,
    ProofRecord,
    SourceRecord,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from appliance.baking.proof import Proof

log = logging.getLogger(__name__)

BAKE_VERSION = "1"
"""Raised whenever baking gives other files than before, so that pairs baked earlier are made anew."""

_TOOLS = ("ctranslate2", "faster-whisper", "numpy", "safetensors", "torch")
_SIDE_FILES_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Baked:
    """A pair and its record; ``reused`` where it was there already."""

    pair: Pair
    record: PairRecord
    reused: bool


def bake(model: WhisperModel, weights: Artifact, ranks: Path, recording: Path, out: Path) -> Baked:
    """Make ``out/<name>/``, or keep it where it was made from the same file in the same way.

    Args:
        weights: the model's ``model.bin`` or ``.pt``.
        ranks: OpenAI's ``.tiktoken`` file of the model's tokenizer.
        recording: some seconds of speech, for the proof.

    Raises:
        ApplianceError: the source does not fit the manifest or is broken, the proof fails, or the disk
            can't take it. An earlier pair stays as it was.
    """
    target = out / model.name
    with _writing(out), _lock(out, model.name):
        kept = _earlier(target, model, weights, sha256_file(ranks))
        if kept is not None:
            return Baked(find_pair(out, model.name), kept, reused=True)
        _require_space(out, 2 * weights.size + _SIDE_FILES_BYTES)
        work = out / f".{model.name}.partial"
        shutil.rmtree(work, ignore_errors=True)
        try:
            record = _make(work, model, weights, ranks, recording)
            _put_in_place(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Baked(find_pair(out, model.name), record, reused=False)


def _make(folder: Path, model: WhisperModel, weights: Artifact, ranks: Path, recording: Path) -> PairRecord:
    from appliance.baking.proof import prove
    from appliance.baking.tokenizer_files import read_vocabulary, write_tokenizer_files

    encoder_dir, decoder_dir = folder / f"{ENCODER_PREFIX}{model.name}", folder / f"{DECODER_PREFIX}{model.name}"
    encoder_dir.mkdir(parents=True)
    decoder_dir.mkdir()
    vocabulary = read_vocabulary(ranks, model.dimensions.n_vocab)
    checkpoint = None
    if weights.format == "pt":
        from appliance.baking.derive import halves, write_ct2
        from appliance.pair.checkpoint import open_checkpoint

        checkpoint = open_checkpoint(weights.path, with_encoder=True)
        _require_dimensions(model, checkpoint.dimensions, weights.path)
        converted = halves(checkpoint)
        write_ct2(encoder_dir, checkpoint.dimensions, converted, vocabulary.texts)
        decoder = {
            name.removeprefix("decoder."): half for name, half in converted.items() if name.startswith("decoder.")
        }
    else:
        from appliance.baking.derive import decoder_from_ct2
        from appliance.pair.ct2_file import open_ct2

        _link_or_copy(weights.path, encoder_dir / "model.bin")
        file = open_ct2(encoder_dir / "model.bin")
        _require_dimensions(model, file.dimensions(), weights.path)
        decoder = decoder_from_ct2(file)
    write_decoder(decoder_dir / FILE_NAME, decoder)
    write_tokenizer_files(encoder_dir, vocabulary, model.dimensions, model.alignment_heads)
    proof = prove(open_pair(encoder_dir, decoder_dir), vocabulary, recording, checkpoint)
    log.info("%s: %s", model.name, proof)
    record = PairRecord(
        name=model.name,
        dimensions=model.dimensions,
        alignment_heads=model.alignment_heads,
        licence=model.licence,
        source=_source(weights),
        tokenizer_sha256=sha256_file(ranks),
        files=tuple(_files(folder)),
        proof=_proof_record(proof, recording),
        tools={"appliance": __version__, "bake": BAKE_VERSION} | {tool: version(tool) for tool in _TOOLS},
    )
    if weights.format == "ct2" and record.source.sha256 not in {file.sha256 for file in record.files}:
        raise ApplianceError(f"{weights.path} has changed since it was fetched", "fetch it again", code="broken_model")
    write_record(folder / RECORD_NAME, record)
    return record


def _earlier(target: Path, model: WhisperModel, weights: Artifact, ranks_sha256: str) -> PairRecord | None:
    """The record of a pair that needs no baking; a damaged or outdated one is told and made anew."""
    if not target.exists():
        return None
    try:
        record = read_record(target / RECORD_NAME)
    except ApplianceError as error:
        log.warning("baking %s again: %s", model.name, error.message)
        return None
    same = (
        record.tools.get("bake") == BAKE_VERSION
        and record.source.sha256 == weights.sha256
        and record.tokenizer_sha256 == ranks_sha256
        and (record.name, record.licence) == (model.name, model.licence)
        and (record.dimensions, record.alignment_heads) == (model.dimensions, model.alignment_heads)
    )
    if not same:
        log.info("baking %s again: its source or the way of baking has changed", model.name)
        return None
    if tuple(_files(target)) != record.files:
        log.warning("baking %s again: files in %s are not as they were baked", model.name, target)
        return None
    return record


def _files(folder: Path) -> Iterator[FileRecord]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / RECORD_NAME:
            yield FileRecord(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_file(path))


def _source(weights: Artifact) -> SourceRecord:
    kind, _, where = weights.source.partition(" ")
    if kind == "local":
        where = Path(where).name  # where it lay on the building machine is nobody's business
    return SourceRecord(kind, where, weights.format, weights.size, weights.sha256)


def _proof_record(proof: "Proof", recording: Path) -> ProofRecord:
    return ProofRecord(
        recording_sha256=sha256_file(recording),
        derived=proof.derived,
        tokens=proof.tokens,
        encoder_error_below=None if proof.encoder_error is None else _power_above(proof.encoder_error),
        logits_error_below=_power_above(proof.logits_error),
        tolerance=proof.tolerance,
    )


def _power_above(error: float) -> float:
    """The next power of ten, from 1e-05 on: below that is the rounding of float32, which no two machines share."""
    return float(f"1e{math.ceil(math.log10(max(error, 1e-5)))}")


def _require_dimensions(model: WhisperModel, found: Dimensions, path: Path) -> None:
    if found != model.dimensions:
        wanted = model.dimensions.as_dict()
        differing = ", ".join(f"{k} {v} instead of {wanted[k]}" for k, v in found.as_dict().items() if v != wanted[k])
        raise ApplianceError(
            f"{path} is not the model {model.name!r} of the manifest: {differing}",
            "correct the model's source or its dimensions in the manifest",
            code="mismatched_source",
        )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _put_in_place(work: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        work.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _require_space(out: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(out).free
    if free < needed_bytes:
        raise _full(f"baking needs up to {needed_bytes / 1e6:.0f} MB in {out}, {free / 1e6:.0f} MB are free", out)


@contextmanager
def _lock(out: Path, name: str) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / f".{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another run to finish baking %s in %s", name, out)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(f"no space left on the disk of {out}", out) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ApplianceError(
                f"cannot write to {out}: {os.strerror(error.errno)} ({error.filename})",
                "choose a folder you can write to with --out DIR",
                code="out_unwritable",
            ) from error
        raise


def _full(message: str, out: Path) -> ApplianceError:
    return ApplianceError(
        message, f"free some space (see `du -sh {out}`), or choose another disk with --out DIR", code="disk_full"
    )
