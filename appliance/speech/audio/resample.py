"""libswresample, set up once: any frame to 16 kHz mono float32."""

import av
import numpy as np
from av.audio.resampler import AudioResampler

from appliance.speech.types import SAMPLE_RATE_HZ, Samples

_NOTHING: Samples = np.zeros(0, dtype=np.float32)


class Resampler:
    """Streaming conversion; a change of rate, layout or sample format in mid-stream starts a new conversion."""

    def __init__(self) -> None:
        self._swr: AudioResampler | None = None
        self._source: tuple[str, str, int] | None = None

    def push(self, frame: av.AudioFrame) -> Samples:
        """Samples that are ready after this frame: mono float32, 16 kHz, shape (n,)."""
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        before = _NOTHING
        if source != self._source:
            before = self.flush()
            # rematrix_maxval keeps a down-mix within [-1, 1]: mono is the mean of left and right, not 3 dB louder.
            self._swr = AudioResampler(
                format="flt", layout="mono", rate=SAMPLE_RATE_HZ, options={"rematrix_maxval": "1.0"}
            )
            self._source = source
        assert self._swr is not None
        frame.pts = None
        return _join([before, *map(_mono, self._swr.resample(frame))])

    def flush(self) -> Samples:
        """What the filter still holds; afterwards a new stream may begin."""
        swr, self._swr, self._source = self._swr, None, None
        return _NOTHING if swr is None else _join([_mono(frame) for frame in swr.resample(None) if frame is not None])


def _mono(frame: av.AudioFrame) -> Samples:
    return np.array(frame.to_ndarray()[0], dtype=np.float32)


def _join(pieces: list[Samples]) -> Samples:
    pieces = [piece for piece in pieces if piece.size]
    return pieces[0] if len(pieces) == 1 else np.concatenate([_NOTHING, *pieces])
