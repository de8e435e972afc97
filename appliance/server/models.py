"""Which files to load, from the settings; nothing is loaded or looked up elsewhere."""

from pathlib import Path

from appliance.errors import ApplianceError, UsageError
from appliance.pair.locate import Pair, find_pair, open_pair
from appliance.server.settings import Settings, describe
from appliance.speakers.load import DiarizerConfig, find_diarizer

VAD_NAME = "silero_vad.onnx"


def locate(settings: Settings) -> tuple[Pair, Path]:
    """The pair and the voice activity model; file headers are checked, so a mismatched pair stops here.

    Raises:
        ApplianceError: something is missing or doesn't fit.
    """
    pair = _pair(settings)
    return pair, _vad_file(settings, pair)


def locate_diarizer(settings: Settings, pair: Pair, vad_file: Path) -> DiarizerConfig | None:
    """What tells speakers apart, or None where that is not wanted; nothing of it is loaded.

    Raises:
        ApplianceError: its weights, a module or a voice's recording are missing.
    """
    if not settings.diarization:
        return None
    for name, file in settings.voices.items():
        if not Path(file).is_file():
            raise ApplianceError(
                f"no recording of {name}: {file} not found",
                f"give it as NAME=RECORDING to {describe('enroll')}; in a container, by its place there",
                code="missing_voice",
            )
    folders = _folders(settings, pair)
    backend, weights = find_diarizer(settings.diarization_backend, settings.diarization_file, folders, settings.device)
    return DiarizerConfig(backend, str(weights), str(vad_file), settings.device, settings.voices, settings.sortformer())


def compute_type(settings: Settings) -> str:
    if settings.compute_type != "auto":
        return settings.compute_type
    return "float16" if settings.device == "cuda" else "int8"


def _pair(settings: Settings) -> Pair:
    if settings.encoder_dir and not settings.decoder_dir:
        raise UsageError(
            f"no decoder directory: {describe('encoder_dir')} is given, {describe('decoder_dir')} is not",
            "a streaming model is a pair: give the folder of the PyTorch decoder that fits the encoder, "
            "or --models-dir with --model",
        )
    if settings.decoder_dir and not settings.encoder_dir:
        raise UsageError(
            f"no encoder directory: {describe('decoder_dir')} is given, {describe('encoder_dir')} is not",
            "give the CTranslate2 folder of the encoder that fits the decoder",
        )
    if settings.encoder_dir and settings.decoder_dir:
        return open_pair(settings.encoder_dir, settings.decoder_dir)
    if settings.models_dir:
        return find_pair(settings.models_dir, settings.model)
    raise UsageError(
        "no model: neither a models directory nor an encoder and a decoder directory is given",
        "give --models-dir DIR [--model NAME], or --encoder-dir DIR --decoder-dir DIR",
    )


def _vad_file(settings: Settings, pair: Pair) -> Path:
    tried = [settings.vad_file] if settings.vad_file else [folder / VAD_NAME for folder in _folders(settings, pair)]
    for path in tried:
        if path.is_file():
            return path
    raise ApplianceError(
        f"no voice activity model: {', '.join(map(str, tried))} not found",
        f"put {VAD_NAME} there, or name it with {describe('vad_file')}",
        code="missing_vad",
    )


def _folders(settings: Settings, pair: Pair) -> list[Path]:
    """Where models lie that are not of the pair."""
    folders = [settings.models_dir, pair.encoder_dir.parent, pair.encoder_dir.parent.parent]
    return [folder for folder in dict.fromkeys(folders) if folder]
