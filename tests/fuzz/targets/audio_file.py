"""A recording that was uploaded, as the process that works on files reads it: its length, then its samples."""

from collections.abc import Iterator

import numpy as np

from appliance.batch.length import check_length, limited
from appliance.errors import ApplianceError
from appliance.speech.audio.file import decode_file
from tests.fuzz.material import put, recordings, speech
from tests.fuzz.watch import Finding, documented
from tests.speech.audio.signals import Encoding, encode

_LONGEST_S = 20.0
_FILES = {
    "aiff": Encoding("aiff", "pcm_s16be", 16000, "mono"),
    "caf": Encoding("caf", "pcm_s16le", 16000, "mono"),
    "avi": Encoding("avi", "libmp3lame", 44100, "mono"),
    "mpegts": Encoding("mpegts", "aac", 48000, "mono"),
    "mpeg": Encoding("mpeg", "mp2", 48000, "mono"),
    "asf": Encoding("asf", "pcm_s16le", 16000, "mono"),
    "w64": Encoding("w64", "pcm_s16le", 16000, "mono"),
    "mp4-index-at-end": Encoding("mp4", "aac", 48000, "mono"),
}


def seeds() -> Iterator[bytes]:
    yield from recordings().values()
    for encoding in _FILES.values():
        yield encode(encoding, speech(encoding.rate_hz))


def words() -> Iterator[bytes]:
    yield from (
        b"FORM",
        b"AIFF",
        b"COMM",
        b"SSND",
        b"caff",
        b"desc",
        b"LIST",
        b"hdrl",
        b"strf",
        b"movi",
        b"idx1",
        b"moov",
        b"stsz",
    )


def one(data: bytes) -> bool:
    file = put("upload", data)
    heard = 0
    try:
        check_length(file, _LONGEST_S)
        for samples in limited(decode_file(file), _LONGEST_S):
            if not np.isfinite(samples).all() or (samples.size and np.abs(samples).max() > 1.0):
                raise Finding("samples beyond [-1, 1]")
            heard += samples.size
    except ApplianceError as error:
        documented(error, ("unsupported_audio", "too_long"))
        return False
    return heard > 0
