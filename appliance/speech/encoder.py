"""Audio to encoder states: log-mel features (faster-whisper) and the CTranslate2 encoder.

The window is padded with silence to what the caller asks, not always to 30 s: CTranslate2 4.8 accepts
shorter feature arrays, and the cost falls with the length.
"""

from pathlib import Path

import ctranslate2
import numpy as np
import torch
from faster_whisper.feature_extractor import FeatureExtractor

from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

FRAME_SAMPLES = 320
"""Samples per encoder frame: 20 ms, so 50 frames a second."""

FRAMES_PER_S = SAMPLE_RATE_HZ // FRAME_SAMPLES

FULL_WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
"""The window Whisper was trained on."""


class Encoder:
    """The encoder half of a pair; any number of threads may share it."""

    def __init__(
        self, directory: Path, n_mels: int, *, device: str, compute_type: str, workers: int, threads: int
    ) -> None:
        """Load a CTranslate2 Whisper model from a local folder.

        Args:
            workers: how many windows may be encoded at once.
            threads: CPU threads for each of them.

        Raises:
            ApplianceError: the model can't be loaded on this device with this compute type.
        """
        try:
            self.model = ctranslate2.models.Whisper(
                str(directory),
                device=device,
                compute_type=compute_type,
                inter_threads=workers,
                intra_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            raise ApplianceError(
                f"the encoder in {directory} can't be loaded on {device} as {compute_type}: {error}",
                "choose another --device or --compute-type, or bake the pair again",
                code="missing_model",
            ) from error
        self._device = device
        self._n_mels = n_mels
        self._features = FeatureExtractor(feature_size=n_mels)

    def encode(self, window: Samples, padded_samples: int) -> torch.Tensor:
        """Encoder states of a window.

        Args:
            window: at most 30 s of samples.
            padded_samples: length after padding with silence; at least the window's, at most 30 s.

        Returns:
            float32 (CPU) or the compute type (CUDA), ``[frames, state]``, 50 frames a second.
        """
        length = min(FULL_WINDOW_SAMPLES, max(padded_samples, len(window)))
        length += -length % FRAME_SAMPLES
        padded = np.zeros(length, dtype=np.float32)
        padded[: len(window)] = window[:length]
        mel = self._features(padded, padding=160)[:, : length // 160]
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], dtype=np.float32))
        states = self.model.encode(view, to_cpu=self._device == "cpu")
        if self._device == "cpu":
            return torch.from_numpy(np.array(states))[0]
        return torch.as_tensor(states, device=self._device)[0]
