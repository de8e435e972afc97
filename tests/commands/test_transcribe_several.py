"""`transcribe` of several recordings, joined ones, channels apart, raw PCM and a microphone; words are canned."""

import json
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.commands.test_transcribe import transcribe
from tests.commands.test_transcribe_result import NOWHERE, READY, TEXT, UPDATE, Result, canned, ramp, run
from tests.server.running import environment

__all__ = ["ramp", "run"]


def wav(path: Path, *channels: int, rate_hz: int = 16000, seconds: float = 0.5) -> Path:
    """A recording that says one number in each channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.tile(np.array(channels, "<i2"), round(seconds * rate_hz)).tobytes())
    return path


def numbers(heard: list[bytes]) -> list[int]:
    """What was streamed, without repetitions."""
    samples = np.frombuffer(b"".join(heard), "<i2")
    return [int(samples[0]), *(int(n) for n in samples[1:][np.diff(samples) != 0])]


def test_a_folder_goes_on_after_a_bad_file(tmp_path: Path, run: Callable[..., Result]) -> None:
    for name in ("b.wav", "d.wav"):
        wav(tmp_path / name, 1)
    (tmp_path / "c.mp3").write_text("this is text")
    (tmp_path / "notes.doc").write_text("left alone")
    (tmp_path / "d.txt").write_text("mine")
    with canned(UPDATE, READY) as (url, _):
        status, out, said = run(str(tmp_path), "--url", url)
    assert (status, out) == (1, "")
    assert f"{tmp_path}/c.mp3: {tmp_path}/c.mp3 is no audio that can be decoded" in said
    assert f"{tmp_path}/d.txt is there already" in said
    assert "1 of 3 transcribed: 0:00 of audio in 0:0" in said
    assert said.rstrip().splitlines()[-2].endswith(f"not transcribed: {tmp_path}/c.mp3")
    assert (tmp_path / "b.txt").read_text() == f"{TEXT}\n" and (tmp_path / "d.txt").read_text() == "mine"
    assert not (tmp_path / "c.txt").exists()


def test_several_into_a_folder(tmp_path: Path, run: Callable[..., Result]) -> None:
    files = [wav(tmp_path / "a.wav", 1), wav(tmp_path / "a.wave", 1)]
    with canned(UPDATE, READY) as (url, _):
        flags = [*map(str, files), "--url", url, "--format", "json", "--quiet", "--out"]
        assert run(*flags, str(tmp_path / "results")) == (0, "", "")
        status, _, said = run(*flags, str(files[0]))
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["a.wav.json", "a.wave.json"]
    assert json.loads((tmp_path / "results" / "a.wav.json").read_text())["text"] == TEXT
    assert status == 2 and "can't be a folder" in said


def test_a_broken_stream_leaves_no_result_that_looks_whole(tmp_path: Path, run: Callable[..., Result]) -> None:
    files = [str(wav(tmp_path / name, 1)) for name in ("a.wav", "b.wav")]
    error = {"type": "error", "code": "internal", "message": "the session failed", "hint": ""}
    with canned(UPDATE, error) as (url, _):
        status, out, said = run(*files, "--url", url)
    assert (status, out) == (1, "") and said.count("server: the session failed") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_joined(tmp_path: Path, run: Callable[..., Result]) -> None:
    files = [wav(tmp_path / "a.wav", 1000), wav(tmp_path / "b.wav", 3000, 1000), wav(tmp_path / "c.wav", 3000)]
    with canned(UPDATE, READY) as (url, heard):
        status, out, _ = run(*map(str, files), "--join", "--url", url)
    assert (status, out) == (0, f"{TEXT}\n")
    assert numbers(heard) == [1000, 2000, 3000] and sum(map(len, heard)) == 3 * 16000


def test_saved_and_not_transcribed(tmp_path: Path, run: Callable[..., Result]) -> None:
    files = [str(wav(tmp_path / "a.wav", 1, 2)), str(wav(tmp_path / "b.wav", 3, 4))]
    target = tmp_path / "joined.wav"
    assert run(*files, "--join", "--channels", "split", "--save", str(target)).status == 0
    with wave.open(str(target)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 16000)
        assert file.readframes(1) == b"\1\0\2\0"
    status, out, said = run(*files, "--save", files[1])
    assert (status, out) == (2, "") and "is one of the recordings" in said
    assert "--save /nowhere/a.wav: there is no folder" in run(*files, "--save", "/nowhere/a.wav").said
    status, _, said = run(files[0], str(wav(tmp_path / "c.wav", 1)), "--join", "--channels", "split", "--url", NOWHERE)
    assert status == 2 and "c.wav and " in said


def test_channels_apart(tmp_path: Path, run: Callable[..., Result]) -> None:
    file = wav(tmp_path / "a.wav", 1000, -1000)
    with canned(UPDATE, READY) as (url, heard):
        status, out, said = run(str(file), "--channels", "split", "--url", url, "--format", "json")
        assert numbers(heard) == [1000, -1000]
        srt = run(str(file), "--channels", "split", "--url", url, "--format", "srt", "--quiet").out
        text = run(str(file), "--channels", "split", "--url", url, "--quiet").out
    assert status == 0 and "channel 1 of 2" in said and "channel 2 of 2" in said
    answer = json.loads(out)
    assert [(line["speaker"], line["text"]) for line in answer["lines"]] == [
        (1, "Here are some words."),
        (2, "Here are some words."),
        (1, "They are always the same."),
        (2, "They are always the same."),
    ]
    assert answer["duration"] == 0.5
    assert "Speaker 2: They are always the same." in srt.replace("\n", " ")
    assert text.splitlines()[:2] == ["Speaker 1: Here are some words.", "Speaker 2: Here are some words."]


def test_raw_pcm_from_stdin(ramp: Path) -> None:
    pcm = np.full(8000, 5000, "<f4") / 32768
    with canned(UPDATE, READY) as (url, heard):
        flags = ["-", "--raw", "f32le", "--rate", "8000", "--url", url, "--quiet"]
        assert transcribe(*flags, stdin=pcm.astype("<f4").tobytes())[:2] == (0, f"{TEXT}\n")
    samples = np.frombuffer(b"".join(heard), "<i2")
    assert samples.size == 16000 and samples[8000] == 5000


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "nothing to transcribe"),
        (["-", "a.wav"], "can't be heard beside other recordings"),
        (["a.wav", "--microphone"], "can't be heard beside other recordings"),
        (["-", "--channels", "split"], "--channels split needs recordings in files"),
        (["--microphone", "--save", "x.wav"], "--save needs recordings in files"),
        (["a.wav", "--raw", "s16le"], "--raw and --rate are about stdin"),
        (["-", "--rate", "8000"], "--rate is about raw PCM"),
        (["a.wav", "--save", "b.wav", "--from", "1"], "--save writes the recordings whole"),
    ],
)
def test_what_does_not_go_together(run: Callable[..., Result], flags: list[str], expected: str) -> None:
    status, out, said = run(*flags)
    assert (status, out) == (2, "") and expected in said and "hint:" in said


def test_an_empty_folder(tmp_path: Path, run: Callable[..., Result]) -> None:
    status, out, said = run(str(tmp_path))
    assert (status, out) == (1, "") and "no recordings in" in said and ".wav" in said


def piped(*flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "appliance", "transcribe", "-", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(WLK_TOKEN="secret"))


def test_a_live_pipe_is_heard_before_it_ends(ramp: Path) -> None:
    """As `arecord | wlk-appliance transcribe -`: the words come while the pipe is open."""
    with canned(UPDATE, READY, after=2) as (url, _), piped("--url", url) as program:
        assert program.stdin is not None
        assert program.stderr is not None
        program.stdin.write(ramp.read_bytes()[: 44 + 4 * 3200])
        program.stdin.flush()
        assert program.stderr.readline().decode() == f"{TEXT}\n"
        out, _ = program.communicate(timeout=20)
    assert (program.returncode, out.decode()) == (0, f"{TEXT}\n")


def test_a_quiet_pipe_does_not_hold_up_the_end_of_a_broken_stream(ramp: Path) -> None:
    error = {"type": "error", "code": "internal", "message": "the session failed", "hint": ""}
    with canned(error, after=2) as (url, _), piped("--url", url, "--quiet") as program:
        assert program.stdin is not None
        program.stdin.write(ramp.read_bytes()[: 44 + 4 * 3200])
        program.stdin.flush()
        assert program.wait(60) == 1
        assert program.stderr is not None and b"server: the session failed" in program.stderr.read()


def recorder(folder: Path, script: str) -> dict[str, str]:
    """Variables of a machine whose only recorder is this script."""
    program = folder / "arecord"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    return environment(PATH=str(folder))


def test_a_microphone_until_ctrl_c(tmp_path: Path) -> None:
    """A recorder with the arguments of arecord that plays a ramp for ever, as fast as a microphone."""
    env = recorder(
        tmp_path,
        "import sys, time\n"
        "assert sys.argv[1:] == '-q -t raw -f S16_LE -c 1 -r 16000 -D hw:1'.split(), sys.argv\n"
        "while True:\n"
        "    sys.stdout.buffer.write(b'\\1\\2' * 1600); sys.stdout.flush(); time.sleep(0.1)\n",
    )
    with canned(UPDATE, after=4) as (url, heard):
        command = [sys.executable, "-m", "appliance", "transcribe", "--microphone", "hw:1", "--url", url]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as program:
            assert program.stderr is not None and program.stderr.readline() == f"{TEXT}\n"
            program.send_signal(signal.SIGINT)
            out, said = program.communicate(timeout=30)
    assert (program.returncode, out) == (130, f"{TEXT}\n"), said
    assert set(b"".join(heard)) == {1, 2}


def test_no_microphone(tmp_path: Path) -> None:
    env = recorder(tmp_path, "import sys; sys.exit('arecord: main:850: audio open error: No such file or directory')")
    status, out, said = transcribe("--microphone", "--url", NOWHERE, env=env)
    assert (status, out) == (1, "") and "arecord ended: arecord: main:850: audio open error" in said
    assert "arecord -L" in said
    (tmp_path / "arecord").unlink()
    status, out, said = transcribe("--microphone", "--url", NOWHERE, env=env)
    assert (status, out) == (1, "") and "none of arecord, parec is installed" in said and "alsa-utils" in said
