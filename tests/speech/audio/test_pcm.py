import numpy as np

from appliance.speech.audio.pcm import s16le


def test_s16le_rounds_and_clips() -> None:
    samples = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.4 / 32768, 1.6 / 32768], dtype=np.float32)
    assert np.frombuffer(s16le(samples), dtype="<i2").tolist() == [0, 32767, -32768, 32767, -32768, 0, 2]
