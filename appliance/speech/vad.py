"""Voice activity by silero-vad (ONNX): the probability of speech for every 32 ms of a stream.

Model: Silero Team, silero-vad 6, MIT. The ONNX file comes from a local path; nothing is looked up.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

WINDOW_SAMPLES = 512
"""Samples per decision at 16 kHz: 32 ms."""

_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (2, 1, 128)


def disable_telemetry() -> None:
    """Before ONNX Runtime is loaded, by whomever: its wheels send usage data to their maker else (its Privacy.md)."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class VadModel:
    """The shared, stateless half; any number of threads may call it at once."""

    def __init__(self, file: Path) -> None:
        """Load the model.

        Raises:
            ApplianceError: the file is missing or is not a usable silero-vad model.
        """
        if not file.is_file():
            raise ApplianceError(
                f"no voice activity model at {file}",
                "wlk-appliance fetch silero-vad, then name the file with --vad-file",
                code="missing_model",
            )
        disable_telemetry()
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.NoSuchFile,
        ) as error:
            raise ApplianceError(
                f"{file} is not a usable silero-vad model: {_first_line(error)}",
                "copy silero_vad.onnx of silero-vad 6 there",
                code="missing_model",
            ) from error
        self._rate = np.array(SAMPLE_RATE_HZ, dtype=np.int64)

    def probability(self, window: Samples, state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Speech probability of ``window`` (64 samples of context, then 512) and the next recurrent state."""
        output, next_state = self._session.run(None, {"input": window[None], "state": state, "sr": self._rate})
        return float(output[0, 0]), next_state


class VadStream:
    """The recurrent state of one stream; used by one thread at a time."""

    def __init__(self, model: VadModel) -> None:
        self._model = model
        self._state: NDArray[np.float32] = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self._context: Samples = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)

    def probability(self, window: Samples) -> float:
        """Speech probability in [0, 1] of the next 512 samples of the stream."""
        heard = np.concatenate([self._context, window])
        probability, self._state = self._model.probability(heard, self._state)
        self._context = heard[-_CONTEXT_SAMPLES:]
        return probability


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
