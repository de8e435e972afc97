"""Which diarizer, from which file: found without loading anything of it, and loaded when it is wanted."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np

from appliance.errors import ApplianceError
from appliance.speakers.diarizer import Backend, Choice, Diarizer
from appliance.speakers.sortformer_config import SortformerConfig
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

log = logging.getLogger(__name__)

FOLDER = "diarizer"
"""Beside the models: what tells speakers apart."""

_SUFFIX: Mapping[Backend, str] = {"embedding": ".pt", "sortformer": ".nemo"}

LONGEST_VOICE_S = 120.0
"""So much of a recording that a voice is enrolled from is heard."""


@dataclass(frozen=True, slots=True)
class DiarizerConfig:
    """What to load. ``voices``: names, and the recordings by which they are enrolled."""

    backend: Backend
    file: str
    vad_file: str
    device: str
    voices: Mapping[str, str] = field(default_factory=dict)
    sortformer: SortformerConfig = field(default_factory=SortformerConfig)


def find_diarizer(choice: Choice, file: Path | None, folders: Sequence[Path], device: str) -> tuple[Backend, Path]:
    """The backend, and the file of its weights: the one that is given, or the first in `FOLDER` of these folders.

    ``auto`` takes sortformer on a GPU, where its weights and NeMo are there, else embedding.

    Raises:
        ApplianceError: code ``missing_diarizer``: there is no such file, or no NeMo for it.
    """
    if file is not None and not file.is_file():
        raise ApplianceError(
            f"no diarizer: {file} not found", "give the file of its weights, or leave it out", code="missing_diarizer"
        )
    if choice == "auto":
        choice = _chosen(file, folders, device)
    found = file or _first(folders, _SUFFIX[choice])
    if found is None or found.suffix != _SUFFIX[choice]:
        where = found or ", ".join(str(folder / FOLDER / f"*{_SUFFIX[choice]}") for folder in folders)
        raise ApplianceError(
            f"no diarizer: {choice} needs a file {_SUFFIX[choice]}; looked at {where}",
            "images hold one (docs/diarization.md); elsewhere name it with --diarization-file (WLK_DIARIZATION_FILE)",
            code="missing_diarizer",
        )
    if choice == "sortformer" and not _has_nemo():
        raise ApplianceError(
            "the diarizer sortformer needs NeMo, which is not installed here",
            "use the image that is built with DIARIZATION=sortformer, or --diarization-backend embedding",
            code="missing_diarizer",
        )
    return choice, found


def load_diarizer(config: DiarizerConfig) -> Diarizer:
    """Load the model and enrol the voices. Takes seconds, and imports torch.

    Raises:
        ApplianceError: it can't be loaded, or a voice can't be enrolled.
    """
    started = time.monotonic()
    diarizer = _load(config)
    for name, file in config.voices.items():
        diarizer.enrol(name, _voice(Path(file)))
    log.info(
        "speakers: %s ready in %.1f s, %d voices known", config.backend, time.monotonic() - started, len(config.voices)
    )
    return diarizer


def _load(config: DiarizerConfig) -> Diarizer:
    if config.backend == "sortformer":
        from appliance.speakers.sortformer import Sortformer

        return Sortformer.load(Path(config.file), config.sortformer, config.device)
    from appliance.speakers.embedding import EmbeddingDiarizer
    from appliance.speech.vad import VadModel

    return EmbeddingDiarizer(Path(config.file), VadModel(Path(config.vad_file)))


def _chosen(file: Path | None, folders: Sequence[Path], device: str) -> Backend:
    if file is not None:
        return "sortformer" if file.suffix == _SUFFIX["sortformer"] else "embedding"
    has_weights = _first(folders, _SUFFIX["sortformer"]) is not None
    return "sortformer" if device == "cuda" and has_weights and _has_nemo() else "embedding"


def _has_nemo() -> bool:
    return find_spec("nemo") is not None


def _first(folders: Sequence[Path], suffix: str) -> Path | None:
    found = chain.from_iterable(sorted((folder / FOLDER).glob(f"*{suffix}")) for folder in folders)
    return next((file for file in found if file.is_file()), None)


def _voice(file: Path) -> Samples:
    pieces: list[Samples] = []
    samples = 0
    for piece in decode_file(file):
        pieces.append(piece)
        samples += piece.size
        if samples >= LONGEST_VOICE_S * SAMPLE_RATE_HZ:
            break
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
