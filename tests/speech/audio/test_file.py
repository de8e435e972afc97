import os
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speech.audio.file import decode_file
from tests.speech.audio.signals import ENCODINGS, Encoding, direct, encode, likeness, speechlike


@pytest.mark.parametrize("name", [*ENCODINGS, "mp4-index-at-end"])
def test_file_gives_its_audio(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS.get(name, Encoding("mp4", "aac", 48000, "mono", {}, 1200))
    signal = speechlike(encoding.rate_hz)
    file = tmp_path / "audio"
    file.write_bytes(encode(encoding, signal))
    out = np.concatenate(list(decode_file(file)))
    expected = direct(encoding, signal)
    assert abs(out.size - expected.size) <= max(encoding.tolerance_samples, 2)
    assert likeness(out, expected)[0] > 0.97


def test_what_is_no_audio(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="can't read"):
        list(decode_file(tmp_path / "none"))
    with pytest.raises(ApplianceError, match="can't read"):
        list(decode_file(tmp_path))
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(ApplianceError, match="no audio that can be decoded"):
        list(decode_file(tmp_path / "text"))


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg-opus", "wav-16k"])
def test_a_file_that_was_cut_off_gives_what_is_there(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS[name]
    whole = encode(encoding, speechlike(encoding.rate_hz))
    file = tmp_path / "audio"
    file.write_bytes(whole)
    seconds = sum(piece.size for piece in decode_file(file))
    file.write_bytes(whole[: len(whole) * 2 // 3])
    assert 0.2 * seconds < sum(piece.size for piece in decode_file(file)) < 0.9 * seconds


def test_a_script_opens_no_other_file(tmp_path: Path) -> None:
    """As uploads lie in a server: what stands beside one in the folder of open files is another client's."""
    encoding = ENCODINGS["wav-16k"]
    other, upload = tmp_path / "other", tmp_path / "upload"
    other.write_bytes(encode(encoding, speechlike(encoding.rate_hz)))
    with other.open("rb") as theirs:
        upload.write_text(f"ffconcat version 1.0\nfile {theirs.fileno()}\n")
        with upload.open("rb") as sent, pytest.raises(ApplianceError) as caught:
            list(decode_file(Path(f"/proc/{os.getpid()}/fd/{sent.fileno()}")))
    assert caught.value.code == "unsupported_audio"


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    encoding = ENCODINGS["aac-adts"]
    (tmp_path / "a.ts").write_bytes(encode(encoding, speechlike(encoding.rate_hz)))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ApplianceError) as caught:
        list(decode_file(tmp_path / "list.m3u8"))
    assert caught.value.code == "unsupported_audio"


@pytest.mark.parametrize(
    ("muxer", "codec"),
    [
        ("aiff", "pcm_s16be"),
        ("caf", "pcm_s16be"),
        ("asf", "libmp3lame"),
        ("mp2", "mp2"),
        ("mpeg", "mp2"),
        ("mpegts", "mp2"),
        ("avi", "pcm_s16le"),
        ("w64", "pcm_s16le"),
        ("matroska", "flac"),
        ("ogg", "flac"),
        ("mov", "pcm_s16le"),
        ("ipod", "aac"),
        ("3gp", "aac"),
    ],
)
def test_whatever_a_folder_of_recordings_may_hold(muxer: str, codec: str, tmp_path: Path) -> None:
    signal = speechlike(48000)
    (tmp_path / "audio").write_bytes(encode(Encoding(muxer, codec, 48000, "mono"), signal))
    assert sum(piece.size for piece in decode_file(tmp_path / "audio")) == pytest.approx(signal.size / 3, rel=0.1)


def test_amr_has_a_header_and_is_told_by_it(tmp_path: Path) -> None:
    """No encoder of it is here: frames of 20 ms in its lowest mode, all zero."""
    (tmp_path / "audio.amr").write_bytes(b"#!AMR\n" + (b"\x04" + bytes(12)) * 50)
    assert sum(piece.size for piece in decode_file(tmp_path / "audio.amr")) == pytest.approx(16000, rel=0.1)
