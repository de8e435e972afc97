"""A voice activity model for samples made in a test: what is not silent is speech."""

import numpy as np
from numpy.typing import NDArray

from appliance.speech.types import Samples
from appliance.speech.vad import WINDOW_SAMPLES, VadModel


class LoudVad(VadModel):
    def __init__(self) -> None:
        pass

    def probability(self, window: Samples, state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        return float(np.abs(window[-WINDOW_SAMPLES:]).mean() > 0.01), state
