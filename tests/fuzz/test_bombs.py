"""Small files that would be large: each is bounded, or refused by name."""

import hashlib
import io
import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from appliance.batch.length import check_length, limited
from appliance.delivery.delta import DELTA_LIST
from appliance.delivery.keys import write_signed
from appliance.delivery.verify import verify_bundle
from appliance.errors import ApplianceError
from appliance.manifest import load_manifest
from appliance.pair.checkpoint import open_checkpoint
from appliance.server.hearing import take_some
from appliance.server.protocol import MAX_TEXT_CHARS, parse_control
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ
from tests.delivery.bundles import make, public, script
from tests.fuzz.bundles import key, single, text
from tests.fuzz.material import recordings, wav
from tests.fuzz.pairs import checkpoint
from tests.fuzz.targets import load
from tests.fuzz.targets.nemo import packed
from tests.fuzz.watch import Peak
from tests.speakers.test_nemo_file import CONFIG, WEIGHTS, contents

HOURS = 10
MOST_MB = 100.0
SLOWEST_S = 10.0
"""Of processor time, on a slow machine; what is meant is: at once."""


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
            crc &= (1 << bits) - 1
    return crc


@pytest.fixture(scope="module")
def silence() -> bytes:
    """Hours of it as FLAC: 65,535 samples that are all the same take 14 bytes, or 15."""
    samples, rate_hz = 65535, 8000
    stream = samples.to_bytes(2, "big") * 2 + bytes(6) + (rate_hz << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
    out = [b"fLaC\x80\0\0\x22" + stream]
    for number in range(HOURS * 3600 * rate_hz // samples):
        head = b"\xff\xf8\x74\x08" + chr(number).encode() + (samples - 1).to_bytes(2, "big")
        frame = head + bytes([_crc(head, 8, 0x07)]) + bytes(3)
        out.append(frame + _crc(frame, 16, 0x8005).to_bytes(2, "big"))
    whole = b"".join(out)
    assert len(whole) < 70_000
    return whole


def test_hours_in_one_message_are_decoded_as_they_are_heard(silence: bytes) -> None:
    """A connection takes some seconds, and no more until few of them are unheard; see `Hearing`."""
    peak = Peak()
    decoder = AudioDecoder()
    pieces = decoder.feed(silence)
    for _ in range(5):
        batch, more = take_some(pieces)
        assert more and 4 * SAMPLE_RATE_HZ <= sum(samples.size for samples in batch) <= 30 * SAMPLE_RATE_HZ
    decoder.close()
    assert peak.rise_mb < MOST_MB


def test_hours_in_a_small_file_are_too_long(silence: bytes, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(silence)
    with pytest.raises(ApplianceError) as caught:
        check_length(file, 4 * 3600)
    assert caught.value.code == "too_long"
    peak, heard = Peak(), 0
    with pytest.raises(ApplianceError) as caught:
        for samples in limited(decode_file(file), 60.0):
            heard += samples.size
    assert caught.value.code == "too_long" and heard <= 61 * SAMPLE_RATE_HZ
    assert peak.rise_mb < MOST_MB


HEADERS = {
    "no rate": wav(0, 1, 16, bytes(3200)),
    "1 Hz": wav(1, 1, 16, bytes(32000)),
    "1 Hz, float": wav(1, 1, 32, bytes(32000), tag=3),
    "48 MHz": wav(48_000_001, 1, 16, bytes(32000)),
    "2^31 Hz": wav(1 << 31, 1, 16, bytes(32000)),
    "2^32 - 1 Hz": wav((1 << 32) - 1, 2, 24, bytes(32000)),
    "255 channels": wav(16000, 255, 16, bytes(51000)),
    "65535 channels": wav(16000, 65535, 16, bytes(200_000)),
    "65535 channels, float": wav(16000, 65535, 32, bytes(400_000), tag=3),
    "65535 bits": wav(16000, 1, 65535, bytes(32000)),
    "4 GB said": wav(16000, 1, 16, bytes(3200), said=(1 << 32) - 1),
    "2 GB said, float": wav(16000, 1, 32, bytes(3200), tag=3, said=1 << 31),
    "MP4, a box of exabytes": b"\0\0\0\x20ftypisom" + bytes(20) + b"\0\0\0\1moov" + b"\x7f" + bytes(7) + bytes(5000),
    "MP4, 4 GB of index": b"\0\0\0\x20ftypisom" + bytes(20) + b"\xff\xff\xff\xffmoov" + b"\xff\xff\xff\xfftrak" * 500,
    "WebM, sizes of exabytes": recordings()["webm"][:4] + b"\x01\xff\xff\xff\xff\xff\xff\xfe" * 500,
    "ID3, a picture of 256 MB": b"ID3\4\0\0\x7f\x7f\x7f\x7fAPIC\x7f\x7f\x7f\x7f\0\0" + bytes(5000),
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_absurd_header(name: str) -> None:
    """The target looks at processor time and memory, and at what comes out; it is refused, or little is."""
    load("audio_stream").attempt(b"\0\0" + HEADERS[name], SLOWEST_S)
    load("audio_file").attempt(HEADERS[name], SLOWEST_S)


@pytest.mark.parametrize("rate_hz", [1, 999, 1 << 31])
def test_a_rate_that_no_sound_has_is_named(rate_hz: int, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(wav(rate_hz, 1, 32, bytes(32000), tag=3))
    with pytest.raises(ApplianceError) as caught:
        list(decode_file(file))
    assert caught.value.code == "unsupported_audio"


@pytest.mark.parametrize(
    "message",
    ["[" * 16000, '{"type":' * 2000, '{"type": "ping", "id": ' + "9" * 16000 + "}", "x" * (MAX_TEXT_CHARS + 1)],
    ids=["deep list", "deep object", "long number", "long"],
)
def test_a_deep_or_large_message(message: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        parse_control(message)
    assert caught.value.code == "bad_message"


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
)
MERGED = "a0: &a0 {k: v}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 30)
)


@pytest.mark.parametrize("bomb", [LAUGHS, MERGED, "a: &a [*a]\n"], ids=["aliases", "merged", "in itself"])
def test_yaml_of_billions(bomb: str, tmp_path: Path) -> None:
    file, begun = tmp_path / "manifest.yaml", time.process_time()
    file.write_text(f"version: 1\n{bomb}models: *a0\n")
    with pytest.raises(ApplianceError, match=r"aliases \(\*name\) are not taken") as caught:
        load_manifest(file)
    assert caught.value.code == "bad_manifest" and time.process_time() - begun < SLOWEST_S


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info.tobuf(tarfile.GNU_FORMAT)


MEMBERS = {
    "above": _member("../../etc/passwd"),
    "absolute": _member("/etc/passwd"),
    "link": _member("wlk.bundle/verify.sh", tarfile.SYMTYPE, "/bin/sh"),
    "hard link": _member("wlk.bundle/verify.sh", tarfile.LNKTYPE, "/etc/shadow"),
    "device": _member("wlk.bundle/verify.sh", tarfile.CHRTYPE),
    "pipe": _member("wlk.bundle/verify.sh", tarfile.FIFOTYPE),
    "sparse": _member("wlk.bundle/image.tar.zst", tarfile.GNUTYPE_SPARSE, size=1 << 40),
    "exabytes": _member("wlk.bundle/CONTENTS", size=1 << 62),
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", MEMBERS)
def test_a_bundle_with_another_member(name: str, where: str, tmp_path: Path) -> None:
    """Nothing is unpacked: each byte of the file must be the one that the signed list asks for."""
    good = single(text().encode())
    file = tmp_path / "wlk.bundle.tar"
    file.write_bytes(MEMBERS[name] + good if where == "before" else good[:-1024] + MEMBERS[name] + bytes(1024))
    with pytest.raises(ApplianceError) as caught:
        verify_bundle(file, key().public_key())
    assert caught.value.code == "bundle"
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("kind", ["sparse", "pipe", "pipe beside", "named like a command", "two lines"])
def test_a_folder_with_another_kind_of_file(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "wlk.bundle"
    make(folder, key())
    odd = {"named like a command": "a[$(touch ran)]", "two lines": "a\nfile b"}
    match kind:
        case "sparse":  # its size alone tells: a terabyte would take an hour to read
            os.truncate(folder / "image.tar.zst", 1 << 40)
        case "pipe":  # who opened it would wait
            (folder / "verify.sh").unlink()
            os.mkfifo(folder / "verify.sh")
        case "pipe beside":
            os.mkfifo(folder / "more")
        case _:
            (folder / odd[kind]).write_text("")
    with pytest.raises(ApplianceError) as caught:
        verify_bundle(folder, key().public_key())
    done = script("verify.sh", "--key", public(tmp_path, key()), folder)
    assert caught.value.code == "bundle"
    assert done.returncode == 1 and "is not as it was signed" in done.stderr
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("program", ["gzip", "zstd"])
def test_a_delta_that_was_not_signed_is_not_unpacked(program: str, tmp_path: Path) -> None:
    """Of gigabytes in a few bytes only who may sign can make one."""
    base, delta = tmp_path / "base", tmp_path / "delta"
    make(base, key(), version="0.1.0")
    make(delta / "full", key())
    suffix = {"gzip": "gz", "zstd": "zst"}[program]
    (delta / f"image.new.{suffix}").write_bytes(b"small")
    listed = hashlib.sha256(b"small").hexdigest()
    rows = ["wlk-delta 1", "version 0.2.0", f"base {hashlib.sha256((base / 'CONTENTS').read_bytes()).hexdigest()}"]
    rows += ["archive image.tar.zst", f"new image.new.{suffix}", "piece new 1", f"file {listed} 5 image.new.{suffix}"]
    for file in sorted(path for path in (delta / "full").rglob("*") if path.is_file()):
        content = file.read_bytes()
        rows.append(f"file {hashlib.sha256(content).hexdigest()} {len(content)} {file.relative_to(delta)}")
    write_signed(delta / DELTA_LIST, "\n".join(rows) + "\n", key())
    with (delta / f"image.new.{suffix}").open("wb") as out:
        subprocess.run([program, "--stdout"], input=bytes(100_000_000), stdout=out, check=True)
    to = tmp_path / "new"
    done = script("apply.sh", "--key", public(tmp_path, key()), "--base", base, "--to", to, delta)
    assert done.returncode == 1 and f"image.new.{suffix}: " in done.stderr and "bytes instead of 5" in done.stderr
    assert not to.exists() and not to.with_name("new.partial").exists()


def _deflated(archive: bytes) -> bytes:
    """Its parts compressed, and the first a hundred million zeros long."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for number, entry in enumerate(given.infolist()):
            made.writestr(entry.filename, given.read(entry) if number else bytes(100_000_000))
    return out.getvalue()


def test_a_checkpoint_that_is_compressed(tmp_path: Path) -> None:
    file = tmp_path / "mini.pt"
    file.write_bytes(_deflated(checkpoint()))
    peak = Peak()
    with pytest.raises(ApplianceError, match="it is compressed") as caught:
        open_checkpoint(file, with_encoder=False)
    assert caught.value.code == "broken_model" and peak.rise_mb < MOST_MB


@pytest.fixture
def sortformer(tiny_sortformer: Path) -> dict[str, bytes]:
    return contents(tiny_sortformer)


@pytest.mark.nemo
@pytest.mark.parametrize("kind", ["aliases", "references", "lists of references", "compressed", "deep"])
def test_a_sortformer_of_billions(kind: str, sortformer: dict[str, bytes]) -> None:
    config = sortformer[CONFIG].decode()
    doubled = "".join(f'x{level}: "${{x{level + 1}}}${{x{level + 1}}}"\n' for level in range(40)) + "x40: x\n"
    nested = "".join(f'x{level}: ["${{x{level + 1}}}", "${{x{level + 1}}}"]\n' for level in range(40)) + "x40: x\n"
    told = config.replace("weight: null", "weight: ${x0}")
    assert told != config
    changed = {
        "aliases": {CONFIG: (LAUGHS + config).encode()},
        "references": {CONFIG: (doubled + told).encode()},
        "lists of references": {CONFIG: (nested + told).encode()},
        "compressed": {WEIGHTS: _deflated(sortformer[WEIGHTS])},
        "deep": {CONFIG: (f"x: {'[' * 5000}\n" + config).encode()},
    }[kind]
    assert not load("nemo").attempt(packed(sortformer | changed), SLOWEST_S)[0]
