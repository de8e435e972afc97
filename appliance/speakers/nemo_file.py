"""A Sortformer out of a local `.nemo` file, such that nothing in it is run.

Such a file is a tar of a configuration and of weights. NeMo's own loader unpacks it by what only Python 3.11.4 has, and
makes objects of those of NeMo's classes that the configuration names. Here nothing is unpacked onto a disk, the classes
are those below whatever is named, and of pickled things only tensors are read. So safety needs no pinned hash, and
weights that a site has trained can be loaded too.
"""

import logging
import pickle
import re
import tarfile
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import torch

from appliance.errors import ApplianceError
from appliance.pair.checkpoint import DAMAGE, refuse_compressed
from appliance.speakers.sortformer_config import FRAME_S, SortformerConfig
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.speech.vad import disable_telemetry

_CLASSES = {
    "preprocessor": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "encoder": "nemo.collections.asr.modules.ConformerEncoder",
    "sortformer_modules": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
    "transformer_encoder": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
    "loss": "nemo.collections.asr.losses.bce_loss.BCELoss",
}
"""What a Sortformer consists of. All else in a configuration is for training."""

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_LARGEST_BYTES = {_CONFIG: 1 << 20, _WEIGHTS: 4 << 30}
_MOST_MEMBERS = 100
_LONGEST_REASON = 300
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class SortformerModel(Protocol):
    """What of NeMo's `SortformerEncLabelModel` is used here; its own documentation says what these are."""

    async_streaming: bool
    device: torch.device
    preprocessor: Any
    sortformer_modules: Any

    def forward_streaming_step(
        self,
        processed_signal: torch.Tensor,
        processed_signal_length: torch.Tensor,
        streaming_state: Any,
        total_preds: torch.Tensor,
        *,
        left_offset: int,
        right_offset: int,
    ) -> tuple[Any, torch.Tensor]: ...


def load_sortformer(file: Path, config: SortformerConfig, device: str = "cpu") -> SortformerModel:
    """The model in this file, ready to be stepped through streams.

    Raises:
        ApplianceError: NeMo is not installed, or the file is missing, damaged, or no streaming Sortformer.
    """
    disable_telemetry()  # NeMo loads ONNX Runtime, too
    # What NeMo remarks while it is loaded is about training.
    logging.getLogger("nv_one_logger").setLevel(logging.CRITICAL)
    try:
        from hydra.errors import HydraException
        from nemo.collections.asr.models import SortformerEncLabelModel
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import AliasEvent, YAMLError, parse
    except ImportError as error:
        raise ApplianceError(
            f"sortformer needs NeMo, and it can't be loaded: {error}",
            "use an image built with DIARIZATION=sortformer, or another diarizer",
            code="missing_model",
        ) from error
    logging.getLogger("nemo_logger").setLevel(logging.ERROR)
    try:
        with tarfile.open(file, "r:") as archive:
            text = _member(archive, _CONFIG).read().decode()
            if any(isinstance(event, AliasEvent) for event in parse(text)):
                raise ValueError("its configuration has aliases, by which a few lines can be billions")
            found = OmegaConf.create(text)
            raw = OmegaConf.to_container(found)
            _refuse_growth({name: raw[name] for name in ("model_defaults", *_CLASSES)}, raw)
            defaults = dict(OmegaConf.to_container(found.model_defaults, resolve=True))
            _refuse_more_classes(defaults.values())
            parts = {name: dict(OmegaConf.to_container(found[name], resolve=True)) for name in _CLASSES}
            for name, part in parts.items():
                part["_target_"] = _CLASSES[name]
                _refuse_more_classes(part.values())
            parts["sortformer_modules"] |= _streaming(config)
            model = SortformerEncLabelModel(
                OmegaConf.create(
                    {
                        **parts,
                        "model_defaults": defaults,
                        "max_num_of_spks": parts["sortformer_modules"]["num_spks"],
                        "streaming_mode": True,
                        "async_streaming": True,
                    }
                )
            )
            if complaint := _complaint(model):
                raise ValueError(complaint)
            packed = _member(archive, _WEIGHTS)
            refuse_compressed(packed)
            weights = torch.load(packed, map_location="cpu", weights_only=True)
            model.load_state_dict(weights)
    except (
        *DAMAGE,
        HydraException,
        OmegaConfBaseException,
        YAMLError,
        pickle.UnpicklingError,
        tarfile.TarError,
    ) as error:
        reason = " ".join(str(error).split())
        raise ApplianceError(
            f"{file} is not a usable Sortformer: {reason[:_LONGEST_REASON]}",
            "give the .nemo file of NVIDIA's streaming Sortformer: wlk-appliance fetch sortformer-v2",
            code="missing_model",
        ) from error
    loaded: SortformerModel = model.to(device).eval()
    return loaded


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file in the archive, to be read where it lies.

    Raises:
        ValueError: there is none, or what goes by its name is no plain file of a reasonable size.
    """
    for member in islice(archive, _MOST_MEMBERS):
        if member.name.removeprefix("./") == name:
            # One with holes has more zeros than there are bytes in the file.
            opened = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if opened is None or member.size > _LARGEST_BYTES[name]:
                raise ValueError(f"its {name} is no plain file, or too large")
            return opened
    raise ValueError(f"there is no {name} in it")


def _refuse_growth(value: Any, everything: Any) -> None:
    """A value may refer to a plain one elsewhere; to lists of references to lists, few lines would be billions."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_growth(inner, everything)
    elif isinstance(value, str) and "${" in value:
        reference = _REFERENCE.fullmatch(value)
        target = everything
        for step in reference[1].split(".") if reference else ():
            target = target.get(step) if isinstance(target, dict) else None
        if reference is None or isinstance(target, dict | list):
            raise ValueError(f"it has something looked up in two steps: {value}")
        _refuse_growth(target, everything)


def _refuse_more_classes(values: Any) -> None:
    """A part is made with numbers, words and lists of them, and of nothing that would be made or looked up itself."""
    for value in values:
        if isinstance(value, dict):
            if "_target_" in value:
                raise ValueError(f"it names a class that no Sortformer has: {value['_target_']}")
            _refuse_more_classes(value.values())
        elif isinstance(value, list):
            _refuse_more_classes(value)
        elif isinstance(value, str) and "${" in value:
            raise ValueError(f"it has something looked up in two steps: {value}")


def _streaming(config: SortformerConfig) -> dict[str, int]:
    """By NeMo's names."""
    return {
        "chunk_len": config.chunk,
        "chunk_left_context": config.left,
        "chunk_right_context": config.right,
        "fifo_len": config.fifo,
        "spkcache_len": config.cache,
        "spkcache_update_period": config.update,
    }


def _complaint(model: Any) -> str | None:
    """Why this one can't be stepped through streams as they come, if so."""
    featurizer, factor = model.preprocessor.featurizer, model.sortformer_modules.subsampling_factor
    if featurizer.normalize in ("per_feature", "all_features") or isinstance(featurizer.normalize, dict):
        return "its features are normalised over a whole recording"
    if featurizer.exact_pad or featurizer.frame_splicing != 1 or featurizer.sample_rate != SAMPLE_RATE_HZ:
        return "its features are not made from 16 kHz, frame by frame"
    if featurizer.hop_length * factor != round(FRAME_S * SAMPLE_RATE_HZ):
        return f"its frames are not of {FRAME_S:g} s"
    return None
