"""What is played, as clients send it: raw, or in a container as recorders and browsers make it, at real-time pace."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import av
import numpy as np

from appliance.bench.clips import Clip, SpokenWord, join
from appliance.speech.types import SAMPLE_RATE_HZ

Form = Literal["s16le", "wav", "webm", "ogg", "flac", "mp3"]
FORMS: tuple[Form, ...] = get_args(Form)
EXACT: tuple[Form, ...] = ("s16le", "wav")
"""Where a byte is of a moment: latency is measured with these. Packets and pages of others gather some sound first."""

FRAME_S = 0.1

_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
_CODECS = {"wav": "pcm_s16le", "webm": "libopus", "ogg": "libopus", "flac": "flac", "mp3": "libmp3lame"}
_OPUS_RATE_HZ = 48_000
_OPUS_FRAME = _OPUS_RATE_HZ // 50
_FRAME = 1024
"""Samples of a packet, where the encoder does not say."""
_OPTIONS: dict[str, dict[str, str]] = {
    "webm": {"live": "1", "cluster_time_limit": "100"},
    "ogg": {"page_duration": "100000"},
}


def plays(clips: Sequence[Clip], at_least_s: float) -> list[Clip]:
    """One or two rows of recordings in each language, beginning with different ones."""
    made: list[Clip] = []
    for language in sorted({clip.language for clip in clips}):
        alike = [clip for clip in clips if clip.language == language]
        made += (
            join(alike, at_least_s, first=first, name=f"{language} from {alike[first].name}")
            for first in sorted({0, len(alike) // 2})
        )
    return made


def between_silence(clip: Clip, seconds: float) -> Clip:
    """The same, with nothing said for so long before and after it."""
    whole = round(seconds)
    quiet = bytes(whole * _BYTES_PER_S)
    words = tuple(SpokenWord(word.text, word.end_s + whole) for word in clip.words)
    return replace(clip, pcm=quiet + clip.pcm + quiet, words=words)


def encoded(pcm: bytes, form: Form) -> bytes:
    """16 kHz mono s16le as a whole file of a form."""
    if form == "s16le":
        return pcm
    file = io.BytesIO()
    is_opus = _CODECS[form] == "libopus"
    rate_hz = _OPUS_RATE_HZ if is_opus else SAMPLE_RATE_HZ
    with av.open(file, "w", format=form, options=_OPTIONS.get(form, {})) as out:
        stream = out.add_stream(_CODECS[form], rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None, :], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        size = stream.codec_context.frame_size or (_OPUS_FRAME if is_opus else _FRAME)
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate_hz, size)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return file.getvalue()


def pieces(data: bytes, length_s: float) -> Iterator[tuple[float, bytes]]:
    """(When its last sound is spoken, bytes) of each 100 ms."""
    count = max(1, round(length_s / FRAME_S))
    for number in range(count):
        start, end = len(data) * number // count, len(data) * (number + 1) // count
        yield length_s * (number + 1) / count, data[start:end]
