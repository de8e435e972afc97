"""Audio to encoder states: log-mel features (faster-whisper) and the CTranslate2 encoder.

The window is padded with silence to what the caller asks, not always to 30 s: CTranslate2 4.8 accepts
shorter feature arrays, and the cost falls with the length.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.pair.encoder_half import encoder_half
from appliance.speech.hypothesis import FRAME_SAMPLES, FULL_WINDOW_SAMPLES
from appliance.speech.types import Samples

_HOP_SAMPLES = 160
_FFT_SAMPLES = 400
"""Of silence after a window: from there on all features are the same, the least that there is."""

_CUDA_BATCH = 16
"""Windows encoded at once on a GPU. On a CPU one at a time: encoding is bound by arithmetic there, and two at
once took 1.05 times, four 1.25 times as long per window as one."""


class Encoder:
    """The encoder half of a pair; any number of threads may share it."""

    def __init__(
        self,
        directory: Path,
        n_mels: int,
        *,
        device: str,
        compute_type: str,
        workers: int,
        threads: int,
        decodes: bool = False,
    ) -> None:
        """Load a CTranslate2 Whisper model from a local folder.

        Args:
            workers: how many windows may be encoded at once.
            threads: CPU threads for each of them.
            decodes: load CTranslate2's own decoder too, so that `search` can be used.

        Raises:
            ApplianceError: the model can't be loaded on this device with this compute type.
        """
        self.decodes = decodes
        try:
            with nullcontext(directory) if decodes else encoder_half(directory) as folder:
                self.model = ctranslate2.models.Whisper(
                    str(folder),
                    device=device,
                    compute_type=compute_type,
                    inter_threads=workers,
                    intra_threads=threads,
                )
        except (RuntimeError, ValueError, OSError) as error:
            raise ApplianceError(
                f"the encoder in {directory} can't be loaded on {device} as {compute_type}: {error}",
                "choose another --device or --compute-type, or bake the pair again",
                code="missing_model",
            ) from error
        self._device = device
        self._batch = 1 if device == "cpu" else _CUDA_BATCH
        self._features = FeatureExtractor(feature_size=n_mels)

    def encode(self, windows: Sequence[tuple[Samples, int]]) -> list[torch.Tensor]:
        """Encoder states of windows.

        Args:
            windows: each at most 30 s of samples, with the length to pad it to with silence; a length shorter
                than the window or longer than 30 s is brought into these bounds.

        Returns:
            For each window ``[frames, state]``, 50 frames a second: float32 (CPU), or the compute type (CUDA) without a
            way through the host.
        """
        mels = [self._log_mel(window, padded_samples) for window, padded_samples in windows]
        states: list[torch.Tensor] = []
        for group in self._groups(mels):
            view = ctranslate2.StorageView.from_array(np.stack([mels[index] for index in group]))
            encoded = self.model.encode(view, to_cpu=self._device == "cpu")
            if self._device == "cpu":
                states += torch.from_numpy(np.array(encoded))
            else:
                states += torch.as_tensor(encoded, device=self._device)
        return states

    def search(
        self,
        states: ctranslate2.StorageView,
        prompt: Sequence[int],
        prefix: Sequence[int],
        *,
        beam: int,
        limit: int,
        suppressed: Sequence[int],
    ) -> tuple[list[int], float]:
        """Text tokens after ``prompt`` and ``prefix``, by beam search with CTranslate2's own decoder.

        Args:
            states: of one window, as `encode_view` gives them.
            limit: the most tokens, prompt and prefix included.

        Returns:
            The tokens, and the no-speech probability.
        """
        [result] = self.model.generate(
            states,
            [[*prompt, *prefix]],
            beam_size=beam,
            max_length=limit,
            suppress_tokens=list(suppressed),
            return_no_speech_prob=True,
        )
        # CTranslate2 gives a forced prefix back too.
        return list(result.sequences_ids[0])[len(prefix) :], float(result.no_speech_prob)

    def encode_view(self, window: Samples, padded_samples: int) -> ctranslate2.StorageView:
        """The same for one window, as CTranslate2's own decoder wants it."""
        mel = self._log_mel(window, padded_samples)
        return self.model.encode(ctranslate2.StorageView.from_array(mel[None]))

    def _groups(self, mels: Sequence[NDArray[np.float32]]) -> Iterator[list[int]]:
        """Neighbours of equal length, as many as are worth encoding at once."""
        for _, same in itertools.groupby(range(len(mels)), lambda index: mels[index].shape[1]):
            yield from _batched(list(same), self._batch)

    def _log_mel(self, window: Samples, padded_samples: int) -> NDArray[np.float32]:
        """Features ``[mels, 100 a second]``, float32, of the window and the silence after it."""
        length = min(FULL_WINDOW_SAMPLES, max(padded_samples, len(window)))
        length += -length % FRAME_SAMPLES
        heard: NDArray[np.float32] = self._features(window[:length], padding=_FFT_SAMPLES)[:, : length // _HOP_SAMPLES]
        mel = np.full((heard.shape[0], length // _HOP_SAMPLES), heard.min(), dtype=np.float32)
        mel[:, : heard.shape[1]] = heard
        return mel


def _batched(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
