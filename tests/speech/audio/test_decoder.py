import io
import struct
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.matroska import HeaderWatch
from appliance.speech.audio.streamed import StreamedContainer
from tests.speech.audio.signals import ENCODINGS, Encoding, Signal, direct, encode, likeness, speechlike

RAW_48K = Encoding("s16le", "pcm_s16le", 48000, "mono")


def heard(decoder: AudioDecoder, chunks: list[bytes]) -> Signal:
    pieces = [piece for chunk in chunks for piece in decoder.feed(chunk)]
    pieces += list(decoder.finish())
    decoder.close()
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode-")]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert decoding_threads() == []


@pytest.mark.parametrize("chunk_bytes", [1, 333, 65536])
@pytest.mark.parametrize("name", ENCODINGS)
def test_container_gives_the_audio_that_went_in(name: str, chunk_bytes: int) -> None:
    encoding = ENCODINGS[name]
    lossless = encoding.codec in ("flac", "pcm_s16le")
    seconds = 3.0 if chunk_bytes > 1 else 0.25 if lossless else 0.7  # lossless is most bytes
    signal = speechlike(encoding.rate_hz, seconds)
    decoder = AudioDecoder()
    out = heard(decoder, split(encode(encoding, signal), chunk_bytes))
    expected = direct(encoding, signal)
    assert decoder.kind not in (None, "s16le")
    assert out.dtype == np.float32
    assert abs(out.size - expected.size) <= encoding.tolerance_samples
    correlation, gain, shift = likeness(out, expected)
    assert correlation > (0.9999 if lossless else 0.97)
    assert gain == pytest.approx(1.0, abs=0.002 if lossless else 0.08)
    assert abs(shift) <= max(2, encoding.tolerance_samples)


def test_lossless_container_is_sample_exact() -> None:
    encoding = ENCODINGS["wav-16k"]
    signal = speechlike(16000)
    out = heard(AudioDecoder(), split(encode(encoding, signal), 1000))
    assert np.max(np.abs(out - signal)) <= 1 / 32768


def test_live_webm_is_heard_while_it_arrives() -> None:
    encoding = ENCODINGS["webm"]
    signal = speechlike(48000, 4.0)
    chunks = split(encode(encoding, signal), 400)
    decoder = AudioDecoder()
    received_s, decoded_s, worst_s = 0.0, 0.0, 0.0
    for number, chunk in enumerate(chunks[:-1], start=1):
        decoded_s += sum(piece.size for piece in decoder.feed(chunk)) / 16000
        received_s = 4.0 * number / len(chunks)
        worst_s = max(worst_s, received_s - decoded_s)
    decoder.close()
    assert worst_s < 0.15


@pytest.mark.parametrize("channels", [1, 2])
def test_live_wav_is_heard_while_it_arrives(channels: int) -> None:
    """As a recorder pipes it, with a size that says nothing."""
    samples = (np.arange(16000) - 8000).astype("<i2")
    data = b"RIFF\xff\xff\xff\x7fWAVE" + riff(b"LIST", b"odd") + riff(b"fmt ", form(channels=channels))
    data += b"data\xff\xff\xff\x7f" + np.repeat(samples, channels).tobytes()
    decoder = AudioDecoder()
    got = 0
    for number, chunk in enumerate(split(data, 320), 1):
        got += sum(piece.size for piece in decoder.feed(chunk))
        assert got >= min(16000, (320 * number - 100) // (2 * channels))
    assert sum(piece.size for piece in decoder.finish()) == 0 and got == 16000
    assert np.array_equal(heard(AudioDecoder(), [data]), samples.astype(np.float32) / 32768)


def test_what_follows_the_samples_of_a_wav_is_no_audio() -> None:
    data = b"RIFF\x00\x00\x00\x00WAVE" + riff(b"fmt ", form()) + riff(b"data", bytes(3200)) + riff(b"LIST", b"x" * 900)
    assert heard(AudioDecoder(), split(data, 100)).size == 1600


@pytest.mark.parametrize("name", ["float", "24 bits", "cut off", "no rate"])
def test_other_wav_is_ffmpegs(name: str) -> None:
    rest = {
        "float": riff(b"fmt ", form(tag=3, bits=32)) + riff(b"data", bytes(64000)),
        "24 bits": riff(b"fmt ", form(bits=24)) + riff(b"data", bytes(48000)),
        "cut off": riff(b"fmt ", form())[:20],
        "no rate": riff(b"fmt ", form(rate_hz=0)) + riff(b"data", bytes(64000)),
    }[name]
    chunks = split(b"RIFF\x00\x00\x00\x00WAVE" + rest, 1000)
    if name in ("cut off", "no rate"):
        with pytest.raises(ApplianceError):
            heard(AudioDecoder(), chunks)
    else:
        assert heard(AudioDecoder(), chunks).size == 16000


def riff(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def form(tag: int = 1, channels: int = 1, rate_hz: int = 16000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame, frame, bits)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 3201])
def test_raw_16_bit_survives_odd_splits(chunk_bytes: int) -> None:
    signal = speechlike(16000, 0.5)
    data = (signal * 32767).astype("<i2").tobytes()
    out = heard(AudioDecoder("s16le"), split(data, chunk_bytes))
    assert np.array_equal(out, np.frombuffer(data, "<i2").astype(np.float32) / 32768)


def test_raw_float_survives_odd_splits_and_bad_values() -> None:
    signal = speechlike(16000, 0.5)
    signal[10], signal[11], signal[12] = np.nan, np.inf, -9.0
    out = heard(AudioDecoder("f32le"), split(signal.astype("<f4").tobytes(), 5))
    expected = signal.copy()
    expected[10], expected[11], expected[12] = 0.0, 1.0, -1.0
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_raw_of_another_rate_is_resampled_without_aliasing(rate_hz: int) -> None:
    encoding = Encoding("s16le", "pcm_s16le", rate_hz, "mono")
    signal = speechlike(rate_hz)
    out = heard(AudioDecoder("s16le", rate_hz=rate_hz), split((signal * 32767).astype("<i2").tobytes(), 4411))
    expected = direct(encoding, signal)
    assert abs(out.size - expected.size) <= 2
    assert likeness(out, expected)[0] > 0.9999


def test_tone_above_the_new_range_vanishes() -> None:
    """12 kHz at 48 kHz would fold to 4 kHz under plain decimation."""
    tone = 0.5 * np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)
    out = heard(AudioDecoder("s16le", rate_hz=48000), [(tone * 32767).astype("<i2").tobytes()])
    assert np.max(np.abs(out[200:-200])) < 0.002


@pytest.mark.parametrize("first_bytes", range(1, 13))
def test_recognised_whatever_the_first_chunk(first_bytes: int) -> None:
    for name in ("webm", "wav-16k", "mp4-fragmented", "flac"):
        data = encode(ENCODINGS[name], speechlike(ENCODINGS[name].rate_hz, 0.4))
        decoder = AudioDecoder()
        out = heard(decoder, [data[:first_bytes], data[first_bytes:]])
        assert decoder.kind not in (None, "s16le")
        assert out.size > 5000


def test_raw_that_starts_like_mp3_is_still_raw() -> None:
    signal = speechlike(16000, 1.0)
    data = b"\xff\xfb\x90\x44" + (signal * 32767).astype("<i2").tobytes()
    decoder = AudioDecoder()
    out = heard(decoder, split(data, 640))
    assert decoder.kind == "s16le"
    assert out.size == signal.size + 2


def test_auto_takes_the_configured_raw_format() -> None:
    signal = speechlike(16000, 0.5)
    decoder = AudioDecoder(raw_default="f32le")
    assert np.array_equal(heard(decoder, split(signal.tobytes(), 999)), signal)


def test_silence_and_a_very_short_stream_are_raw() -> None:
    assert heard(AudioDecoder(), [b"\0" * 3200]).size == 1600
    assert heard(AudioDecoder(), [b"\1"]).size == 0
    assert heard(AudioDecoder(), [b"\1\0\2"]).size == 1
    assert heard(AudioDecoder(), []).size == 0


def refused(data: bytes, decoder: AudioDecoder | None = None, chunk_bytes: int = 1000) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        heard(decoder or AudioDecoder(), split(data, chunk_bytes))
    assert caught.value.code == "unsupported_audio"
    assert caught.value.hint
    return caught.value


GARBAGE: dict[str, Callable[[], bytes]] = {
    "random": lambda: np.random.default_rng(1).bytes(20000),
    "text": lambda: b'{"type": "hello", "note": "this is not audio at all, it is a JSON message"}' * 20,
    "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(3000),
    "webm then noise": lambda: b"\x1aE\xdf\xa3" + np.random.default_rng(2).bytes(60000),
    "ogg then noise": lambda: b"OggS" + np.random.default_rng(3).bytes(60000),
    "riff without audio": lambda: b"RIFF\x00\x10\x00\x00WAVEjunk" + bytes(4000),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused(name: str) -> None:
    refused(GARBAGE[name]())


def test_float_sent_as_16_bit_is_named() -> None:
    error = refused(speechlike(16000).tobytes())
    assert "f32le" in error.hint


def test_mp4_with_its_index_at_the_end_is_refused_at_once() -> None:
    data = encode(Encoding("mp4", "aac", 48000, "mono"), speechlike(48000, 1.0))
    assert data.find(b"moov") > data.find(b"mdat")
    error = refused(data, chunk_bytes=64)
    assert "index at the end" in error.message


def test_video_without_sound_is_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        frame = av.VideoFrame(64, 64, "yuvj420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no audio" in refused(buffer.getvalue()).message


def test_recording_that_is_cut_off_keeps_what_came() -> None:
    for name in ("webm", "mp4-fragmented", "flac", "mp3"):
        encoding = ENCODINGS[name]
        data = encode(encoding, speechlike(encoding.rate_hz, 6.0))
        out = heard(AudioDecoder(), split(data[: int(len(data) * 0.8)], 900))
        assert out.size > 2.5 * 16000


def test_large_compressed_message_comes_in_bounded_pieces() -> None:
    encoding = ENCODINGS["webm"]
    data = encode(encoding, speechlike(48000, 30.0))
    decoder = AudioDecoder()
    pieces = []
    for piece in decoder.feed(data):
        assert isinstance(decoder._container, StreamedContainer)
        assert decoder._container._decoder._out_samples <= 6 * 16000
        pieces.append(piece)
    pieces += list(decoder.finish())
    decoder.close()
    assert max(piece.size for piece in pieces) <= 4 * 16000
    assert sum(piece.size for piece in pieces) == pytest.approx(30 * 16000, abs=200)


@pytest.mark.parametrize("sent", [0.0, 0.2, 0.9])
def test_closing_in_mid_stream_ends_the_thread(sent: float) -> None:
    data = encode(ENCODINGS["webm"], speechlike(48000, 20.0))
    decoder = AudioDecoder()
    stream = decoder.feed(data[: max(4, int(len(data) * sent))])
    next(stream, None)
    decoder.close()
    decoder.close()
    assert decoding_threads() == []


def test_impossible_rate_is_refused() -> None:
    with pytest.raises(ApplianceError, match="sample rate 1 Hz"):
        AudioDecoder("s16le", rate_hz=1)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 997, 65536])
@pytest.mark.parametrize("kept", [0.005, 0.02, 0.51, 0.9, 1.0])
def test_second_header_in_mid_stream_goes_on(kept: float, chunk_bytes: int) -> None:
    """A recorder that was started anew on the same connection; the first one's last block may be cut off."""
    first, second = (encode(ENCODINGS["webm"], speechlike(48000, seconds)) for seconds in (1.0, 1.5))
    cut = first[: int(len(first) * kept)]
    out = heard(AudioDecoder(), split(cut + second, chunk_bytes))
    alone = heard(AudioDecoder(), [second])
    before = heard(AudioDecoder(), [cut]) if kept > 0.1 else alone[:0]
    assert np.array_equal(out, np.concatenate([before, alone]))


def test_second_header_is_heard_while_it_arrives() -> None:
    data = encode(ENCODINGS["webm"], speechlike(48000, 2.0))
    decoder = AudioDecoder()
    first = sum(piece.size for chunk in split(data, 400) for piece in decoder.feed(chunk))
    second = sum(piece.size for chunk in split(data[:-200], 400) for piece in decoder.feed(chunk))
    decoder.close()
    assert first > 1.8 * 16000 and second > 1.7 * 16000


def test_bytes_that_look_like_a_header_are_let_through() -> None:
    data = b"\x1aE\xdf\xa3" + bytes(60) + b"\x1aE\xdf\xa3" * 20 + b"\x1aE"
    for chunk_bytes in (1, 5, 1000):
        watch = HeaderWatch()
        parts = [part for chunk in split(data, chunk_bytes) for part in watch.push(chunk)]
        parts += watch.push(b"", ended=True)
        assert b"".join(piece for piece, _ in parts) == data and not any(fresh for _, fresh in parts)
