"""The models: whether there is a pair, and whether its files are those that were baked."""

from pathlib import Path

from appliance.doctor.finding import Finding, failed
from appliance.errors import ApplianceError
from appliance.pair.intact import damage, record_of
from appliance.pair.locate import Pair
from appliance.pair.record import RECORD_NAME
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
        record = record_of(pair)
    except ApplianceError as error:
        return failed("files", error)
    if record is None:
        return Finding("files", "note", f"{folder} has no {RECORD_NAME}: a pair of the site's own, not compared")
    if wrong := damage(pair, record, deep=deep):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Finding("files", "error", wrong[0] + more, "copy the model again, or install the bundle again")
    how = "size and SHA-256" if deep else "size"
    return Finding("files", "ok", f"{len(record.files)} files are as {RECORD_NAME} says, by {how}")
