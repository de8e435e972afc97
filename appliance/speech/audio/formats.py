"""What kind of audio a stream is, from its first bytes: a container, raw PCM, or nothing we can play."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.mp4 import box_at

RawFormat = Literal["s16le", "f32le"]
Container = Literal["matroska", "ogg", "wav", "flac", "mp3", "aac", "mov"]
"""Names of FFmpeg demuxers."""

HEAD_BYTES = 16 * 1024
"""Recognition decides within this many bytes; only MP3 and MP4 ever need more than a few dozen."""

KINDS_HINT = "send WebM, Ogg, WAV, FLAC, MP3, MP4/AAC, or raw mono PCM with ?format=s16le (or f32le) and ?rate=HZ"

_MAGIC: tuple[tuple[bytes, Container], ...] = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff\xe0", "a JPEG picture"),
    (b"\xff\xd8\xff\xe1", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b\x08", "gzip data"),
    (b"\x7fELF", "a program"),
)
_TEXT_BYTES = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}
_TEXT_MIN = 64
_NOISE_MIN_SAMPLES = 400
_NOISE_RMS = 0.4
_NOISE_CORRELATION = 0.3

_MP3_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBPS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBPS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class Recognised:
    """The answer: a container to demux, or None for raw PCM."""

    container: Container | None


def unsupported(message: str, hint: str = KINDS_HINT) -> ApplianceError:
    return ApplianceError(message, hint, code="unsupported_audio")


def recognise(head: bytes, *, ended: bool) -> Recognised | None:
    """What the stream is, or None when more bytes are needed to tell (never with ``ended``, nor past `HEAD_BYTES`).

    Raises:
        ApplianceError: an MP4 file whose index is at its end, which can't be played while it arrives.
    """
    final = ended or len(head) >= HEAD_BYTES
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return Recognised(container)
        if magic.startswith(head) and not final:
            return None
    if head[:4] in (b"RIFF", b"RF64", b"BW64") or (b"RIFF".startswith(head[:4]) and len(head) < 4):
        if head[8:12] == b"WAVE":
            return Recognised("wav")
        if len(head) < 12 and not final:
            return None
    if len(head) < 8 and not final:
        return None
    if head[4:8] in (b"ftyp", b"styp"):
        return _mp4(head, final=final)
    return _frames(head, final=final)


def refuse_foreign(head: bytes, raw: RawFormat) -> None:
    """Stop when what is about to be taken for raw PCM is plainly something else.

    White noise near full scale is what compressed data, random bytes or samples of another width
    look like; no microphone gives that. Call it again as the head grows.

    Raises:
        ApplianceError: code ``unsupported_audio``.
    """
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise unsupported(f"this is {what}, not audio")
    if len(head) >= _TEXT_MIN and _TEXT_BYTES.issuperset(head[:_TEXT_MIN]):
        raise unsupported("this is text, not audio")
    if raw == "s16le":
        _refuse_noise(head)
    elif len(head) >= 4 * _NOISE_MIN_SAMPLES:
        wide = np.frombuffer(head[: len(head) // 4 * 4], dtype="<f4")
        if not _plausible_float(wide):
            raise unsupported("this is not float32 audio: the values are far outside [-1, 1]")


def _refuse_noise(head: bytes) -> None:
    if len(head) < 2 * _NOISE_MIN_SAMPLES:
        return
    narrow = np.frombuffer(head[: len(head) // 2 * 2], dtype="<i2").astype(np.float64) / 32768
    rms = float(np.sqrt(np.mean(narrow**2)))
    centred = narrow - narrow.mean()
    power = float(np.dot(centred, centred))
    correlation = float(np.dot(centred[1:], centred[:-1])) / power if power else 1.0
    if rms < _NOISE_RMS or abs(correlation) > _NOISE_CORRELATION:
        return
    if _plausible_float(np.frombuffer(head[: len(head) // 4 * 4], dtype="<f4")):
        raise unsupported("this is not 16-bit audio: it looks like float32 samples", "add ?format=f32le to the address")
    raise unsupported("the data is in no known container, and as raw 16-bit audio it is only noise")


def _plausible_float(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> bool:
    """Whether most values are those of float audio: finite, within [-4, 4], and not denormal dust."""
    if values.size == 0:
        return False
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        sane = np.isfinite(values) & (size <= 4.0) & ((size > 1e-9) | (size == 0.0))
    return bool(np.mean(sane) > 0.98)


def _mp4(head: bytes, *, final: bool) -> Recognised | None:
    """Walk the top-level boxes until the index (``moov``) or the media (``mdat``) comes; the index must come first."""
    at = 0
    while box := box_at(head, at):
        name, size = box
        if name in (b"moov", b"moof"):
            return Recognised("mov")
        if name == b"mdat":
            raise unsupported(
                "this MP4 file has its index at the end, so it can't be played while it arrives",
                "convert it with `-movflags +faststart`, record fragmented MP4, or use `wlk-appliance transcribe FILE`",
            )
        at += size
    return Recognised("mov") if final else None


def _frames(head: bytes, *, final: bool) -> Recognised | None:
    """MP3 or ADTS AAC without a tag: two frame headers in a row, since one alone is also a plausible PCM sample."""
    for container, length_of in (("mp3", _mp3_frame_bytes), ("aac", _adts_frame_bytes)):
        length = length_of(head[:8])
        if length is None:
            continue
        if len(head) < length + 8:
            if not final:
                return None
            continue
        if length_of(head[length : length + 8]) is not None:
            return Recognised("mp3" if container == "mp3" else "aac")
    return Recognised(None)


def _mp3_frame_bytes(header: bytes) -> int | None:
    """Bytes of the MPEG layer III frame that starts here, or None if none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbps_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or kbps_index in (0, 15) or rate_index == 3:
        return None
    first = version == 3
    kbps = (_MP3_KBPS_V1 if first else _MP3_KBPS_V2)[kbps_index]
    return (144 if first else 72) * kbps * 1000 // _MP3_RATES_HZ[version][rate_index] + padding


def _adts_frame_bytes(header: bytes) -> int | None:
    """Bytes of the ADTS AAC frame that starts here, or None if none does."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else None
