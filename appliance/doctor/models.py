"""The models: whether there is a pair, and whether its files are those that were baked."""

from pathlib import Path

from appliance.digest import sha256_file
from appliance.doctor.finding import Finding, failed
from appliance.errors import ApplianceError
from appliance.pair.locate import ENCODER_PREFIX, Pair
from appliance.pair.record import RECORD_NAME, PairRecord, read_record
from appliance.server.models import locate, locate_diarizer
from appliance.server.settings import Settings


def check_models(settings: Settings, *, deep: bool) -> list[Finding]:
    try:
        pair, vad_file = locate(settings)
    except ApplianceError as error:
        return [failed("pair", error)]
    found = [Finding("pair", "ok", f"{pair.name}: {pair.encoder_dir} and {pair.decoder_file} fit")]
    if not vad_file.stat().st_size:
        found.append(Finding("pair", "error", f"{vad_file} is empty", "copy it again, or bake the image again"))
    return [*found, *_check_diarizer(settings, pair, vad_file), _check_files(pair, deep=deep)]


def _check_diarizer(settings: Settings, pair: Pair, vad_file: Path) -> list[Finding]:
    try:
        diarizer = locate_diarizer(settings, pair, vad_file)
    except ApplianceError as error:
        return [failed("diarizer", error)]
    if diarizer is None:
        return []
    return [Finding("diarizer", "ok", f"{diarizer.backend}: {diarizer.file}, {len(diarizer.voices)} voices")]


def _check_files(pair: Pair, *, deep: bool) -> Finding:
    folder = pair.encoder_dir.parent
    try:
        record = _record(pair)
    except ApplianceError as error:
        return failed("files", error)
    if record is None:
        return Finding("files", "note", f"{folder} has no {RECORD_NAME}: a pair of the site's own, not compared")
    wrong = [said for row in record.files if (said := _compare(folder / row.path, row.size, row.sha256, deep=deep))]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Finding("files", "error", wrong[0] + more, "copy the model again, or install the bundle again")
    how = "size and SHA-256" if deep else "size"
    return Finding("files", "ok", f"{len(record.files)} files are as {RECORD_NAME} says, by {how}")


def _record(pair: Pair) -> PairRecord | None:
    """What was baked, where it is about this pair."""
    path = pair.encoder_dir.parent / RECORD_NAME
    if not path.is_file() or pair.decoder_file.parent.parent != pair.encoder_dir.parent:
        return None
    record = read_record(path)
    return record if pair.encoder_dir.name == f"{ENCODER_PREFIX}{record.name}" else None


def _compare(file: Path, size: int, sha256: str, *, deep: bool) -> str:
    """What is wrong with a file, or nothing."""
    try:
        found = file.stat().st_size
        if found != size:
            return f"{file} has {found} bytes instead of {size}"
        if deep and sha256_file(file) != sha256:
            return f"{file} has another content than was baked"
    except OSError as error:
        return f"{file} can't be read: {error.strerror}"
    return ""
