"""libswresample, set up once: any frame to 16 kHz float32, all channels or their mean."""

from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from appliance.speech.audio.formats import unsupported
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

LEAST_RATE_HZ, MOST_RATE_HZ = 1_000, 768_000
"""Of what is decoded. From far beyond, a filter takes gigabytes, or a frame becomes hours."""

Channels = NDArray[np.float32]
"""Samples of all channels of a recording, shape ``(channels, n)``, float32 in [-1, 1], 16 kHz."""


class Resampler:
    """Streaming conversion; a change of rate, layout or sample format in mid-stream starts a new conversion."""

    def __init__(self) -> None:
        self._swr: AudioResampler | None = None
        self._source: tuple[str, str, int] | None = None

    def push(self, frame: av.AudioFrame) -> list[Channels]:
        """What is ready after this frame, in pieces; the number of channels changes between pieces only.

        Raises:
            ApplianceError: code ``unsupported_audio``: no sound has that sample rate.
        """
        if not LEAST_RATE_HZ <= frame.sample_rate <= MOST_RATE_HZ:
            raise unsupported(f"its sample rate is {frame.sample_rate} Hz")
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        before: list[Channels] = []
        if source != self._source:
            before = self.flush()
            self._swr, self._source = AudioResampler(format="flt", rate=SAMPLE_RATE_HZ), source
        assert self._swr is not None
        frame.pts = None
        return before + _pieces(self._swr.resample(frame))

    def flush(self) -> list[Channels]:
        """What the filter still holds; afterwards a new stream may begin."""
        swr, self._swr, self._source = self._swr, None, None
        return [] if swr is None else _pieces(swr.resample(None))


def mixed(channels: Channels) -> Samples:
    """All channels with equal weights: no sum of theirs can clip, and a voice on one of two is 6 dB quieter."""
    samples: Samples = channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
    return samples


def _pieces(frames: list[av.AudioFrame]) -> list[Channels]:
    """Of interleaved samples: of eight planes or more PyAV 18 looks for one too many, wherever that leads."""
    return [
        np.ascontiguousarray(sane(frame.to_ndarray()).reshape(-1, frame.layout.nb_channels).T)
        for frame in frames
        if frame is not None and frame.samples
    ]


def sane(samples: NDArray[Any]) -> NDArray[np.float32]:
    """In [-1, 1], also where a file of floats says otherwise; no number at all is silence."""
    within: NDArray[np.float32] = np.clip(np.nan_to_num(samples, nan=0.0), -1.0, 1.0).astype(np.float32, copy=False)
    return within
