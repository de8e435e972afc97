"""Real things, small: what the seeds are made of."""

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

import av
import numpy as np

from appliance.manifest import Item, Manifest, load_manifest
from appliance.pair.locate import Pair, find_pair
from appliance.speech.audio.file import decode_file
from appliance.store import Store
from tests.conftest import LIBRIVOX, ROOT
from tests.speech.audio.signals import ENCODINGS, Encoding, Signal, encode, speechlike

MORE_ENCODINGS = {
    "matroska-aac": Encoding("matroska", "aac", 48000, "mono"),
    "matroska-pcm": Encoding("matroska", "pcm_s16le", 48000, "stereo"),
    "ogg-flac": Encoding("ogg", "flac", 16000, "mono"),
    "mp4-alac": Encoding("mp4", "alac", 16000, "mono", {"movflags": "frag_keyframe+empty_moov"}),
    "wav-float": Encoding("wav", "pcm_f32le", 16000, "mono"),
    "wav-24-bit": Encoding("wav", "pcm_s24le", 16000, "mono"),
    "wav-alaw": Encoding("wav", "pcm_alaw", 8000, "mono"),
    "wav-adpcm": Encoding("wav", "adpcm_ms", 16000, "mono"),
}
"""What else comes in the containers that are taken."""


@cache
def scratch() -> Path:
    """A folder of this process, in memory where that can be, gone with it."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="wlk-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def put(name: str, data: bytes) -> Path:
    """A file in `scratch`, written anew."""
    path = scratch() / name
    path.write_bytes(data)
    return path


def base_files() -> tuple[Pair, Path]:
    """The real `base` and what finds speech, which `make fuzz` got before."""
    vad_file = _stored(_manifest().asset("silero-vad"))
    assert vad_file, "make fetch"
    return find_pair(ROOT / "build" / "pairs", "base"), vad_file


def _manifest() -> Manifest:
    return load_manifest(ROOT / "models" / "manifest.yaml")


def _stored(item: Item) -> Path | None:
    store = Store(ROOT / "build" / "store")
    return next((file for source in item.sources if (file := store.blob(source.sha256))), None)


@cache
def speech(rate_hz: int, seconds: float = 0.5) -> Signal:
    """The beginning of a real recording, where `make fetch` got it; else a signal like it."""
    if file := _stored(_manifest().recording(LIBRIVOX[0])):
        return _resampled(np.concatenate(list(decode_file(file)))[: round(16000 * seconds)], rate_hz)
    return speechlike(rate_hz, seconds)


def _resampled(samples: Signal, rate_hz: int) -> Signal:
    if rate_hz == 16000:
        return samples
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
    frame.sample_rate = 16000
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces if piece is not None])


@cache
def recordings() -> dict[str, bytes]:
    """Half a second of speech in each container that streams may come in, with the codecs that are usual there."""
    return {name: encode(encoding, speech(encoding.rate_hz)) for name, encoding in (ENCODINGS | MORE_ENCODINGS).items()}


def wav(rate_hz: int, channels: int, bits: int, data: bytes, tag: int = 1, said: int | None = None) -> bytes:
    """A WAV file whose header says what it is told to, in ``said`` also of the size of its data."""
    frame = max(1, channels * bits // 8)
    out = io.BytesIO()
    form = tag.to_bytes(2, "little") + channels.to_bytes(2, "little") + rate_hz.to_bytes(4, "little")
    form += (rate_hz * frame & 0xFFFFFFFF).to_bytes(4, "little") + (frame & 0xFFFF).to_bytes(2, "little")
    form += bits.to_bytes(2, "little")
    size = len(data) if said is None else said
    out.write(b"RIFF" + (36 + size & 0xFFFFFFFF).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0" + form)
    out.write(b"data" + size.to_bytes(4, "little") + data)
    return out.getvalue()
