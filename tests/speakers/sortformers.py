"""NeMo, and a small Sortformer of its real class with random weights, saved by it as `.nemo`."""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.vad import disable_telemetry
from tests.conftest import ROOT, missing

CONFIG: dict[str, Any] = {
    "streaming_mode": True,
    "async_streaming": True,
    "sample_rate": SAMPLE_RATE_HZ,
    "max_num_of_spks": 4,
    "model_defaults": {"fc_d_model": 32, "tf_d_model": 16},
    "preprocessor": {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "normalize": "NA",
        "window_size": 0.025,
        "sample_rate": "${sample_rate}",
        "window_stride": 0.01,
        "window": "hann",
        "features": 128,
        "n_fft": 512,
        "frame_splicing": 1,
        "dither": 0.00001,
    },
    "encoder": {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": 128,
        "feat_out": -1,
        "n_layers": 2,
        "d_model": "${model_defaults.fc_d_model}",
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 16,
        "n_heads": 4,
        "conv_kernel_size": 9,
        "att_context_size": [-1, -1],
    },
    "sortformer_modules": {
        "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
        "num_spks": "${max_num_of_spks}",
        "fc_d_model": "${model_defaults.fc_d_model}",
        "tf_d_model": "${model_defaults.tf_d_model}",
    },
    "transformer_encoder": {
        "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
        "num_layers": 2,
        "hidden_size": "${model_defaults.tf_d_model}",
        "inner_size": 32,
        "num_attention_heads": 4,
        "hidden_act": "relu",
        "pre_ln": False,
        "pre_ln_final_layer_norm": True,
    },
    "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
}
"""Small in all that may be; features, frames and speakers are those of NVIDIA's."""


def noises(seconds: float, seed: int = 0) -> Samples:
    """Stretches of noise of some colour and strength each, from quiet to loud, so that a network hears a change."""
    random = np.random.default_rng(seed)
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE_HZ:
        white = random.standard_normal(int(random.uniform(0.3, 2.0) * SAMPLE_RATE_HZ))
        coloured = np.convolve(white, random.standard_normal(8), "same")
        parts.append((coloured * 10 ** random.uniform(-4, -1)).astype(np.float32))
    return np.concatenate(parts)[: round(seconds * SAMPLE_RATE_HZ)]


@pytest.fixture(scope="session")
def nemo() -> None:
    """NeMo, loaded."""
    if importlib.util.find_spec("nemo") is None:
        folder = ROOT / "build" / "nemo"
        if not folder.is_dir():
            missing("NeMo is not installed: scripts/nemo.sh gets it")
        sys.path.append(str(folder))
    disable_telemetry()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("nemo.collections.asr.models")


@pytest.fixture(scope="session")
def tiny_sortformer(nemo: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of its outputs says yes about half of the time to `noises`."""
    from nemo.collections.asr.models import SortformerEncLabelModel
    from omegaconf import OmegaConf

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SortformerEncLabelModel(OmegaConf.create(CONFIG)).eval()
        last = model.sortformer_modules.single_hidden_to_spks
        samples = torch.from_numpy(noises(15)).unsqueeze(0)
        with torch.no_grad():
            said = torch.logit(model(samples, torch.tensor([samples.shape[1]])))[0]
            last.weight.mul_((2 / said.std(0))[:, None])
            last.bias.copy_((last.bias - said.mean(0)) * 2 / said.std(0))
        file = tmp_path_factory.mktemp("sortformer") / "tiny.nemo"
        model.save_to(str(file))
    return file
