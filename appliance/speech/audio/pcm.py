"""Samples as raw PCM, as a stream carries them."""

import numpy as np

from appliance.speech.types import Samples


def s16le(samples: Samples) -> bytes:
    """16-bit little-endian PCM of samples in [-1, 1): louder ones are clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
