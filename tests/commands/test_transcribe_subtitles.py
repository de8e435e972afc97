"""Subtitles, JSON and parts of real recordings, through a real server, read back."""

import itertools
import json
import re
import wave
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.container.demo import join_recordings
from tests.commands.test_transcribe import transcribe
from tests.commands.test_transcribe_result import interrupted, started
from tests.conftest import Spoken
from tests.server.running import Running, word_errors

pytestmark = pytest.mark.model

PAUSE_S = 2.0


class ReadCue(NamedTuple):
    start_s: float
    end_s: float
    text: str


@pytest.fixture(scope="module")
def two(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Two recordings with a pause between, and where the second begins in seconds."""
    file = tmp_path_factory.mktemp("two") / "two.wav"
    join_recordings([librivox[0].path, librivox[2].path], file, PAUSE_S)
    with wave.open(str(librivox[0].path)) as first:
        return file, first.getnframes() / first.getframerate() + PAUSE_S


def read(subtitles: str, point: str) -> list[ReadCue]:
    """Cues of SubRip or WebVTT, each checked for its shape."""
    blocks = subtitles.rstrip("\n").split("\n\n")
    if point == ".":
        assert blocks.pop(0) == "WEBVTT"
    found = []
    for number, block in enumerate(blocks, 1):
        head, *lines = block.split("\n")
        if point == ",":
            assert head == str(number)
            head, *lines = lines
        times = re.fullmatch(rf"(\d\d):(\d\d):(\d\d)\{point}(\d{{3}}) --> (\d\d):(\d\d):(\d\d)\{point}(\d{{3}})", head)
        assert times, head
        h1, m1, s1, t1, h2, m2, s2, t2 = map(int, times.groups())
        assert 1 <= len(lines) <= 2 and all(0 < len(line) <= 42 for line in lines)
        start_s, end_s = 3600 * h1 + 60 * m1 + s1 + t1 / 1000, 3600 * h2 + 60 * m2 + s2 + t2 / 1000
        found.append(ReadCue(start_s, end_s, " ".join(lines)))
    return found


@pytest.mark.parametrize(("form", "point"), [("srt", ","), ("vtt", ".")])
def test_subtitles(
    server: Running, librivox: tuple[Spoken, ...], two: tuple[Path, float], form: str, point: str, tmp_path: Path
) -> None:
    file, second_s = two
    target = tmp_path / f"two.{form}"
    flags = ["--url", server.asr, "--insecure", "--language", "en", "--format", form, "--out", str(target)]
    status, out, said = transcribe(str(file), *flags)
    assert (status, out) == (0, ""), said
    cues = read(target.read_text(), point)
    assert len(cues) >= 3
    for cue, following in itertools.pairwise(cues):
        assert cue.start_s < cue.end_s <= following.start_s
    parts = [
        " ".join(cue.text for cue in cues if is_second == (cue.start_s > second_s - PAUSE_S / 2))
        for is_second in (False, True)
    ]
    for spoken, part in zip((librivox[0], librivox[2]), parts, strict=True):
        assert word_errors(spoken.transcript, part) <= 3


def test_json_of_a_part(server: Running, librivox: tuple[Spoken, ...], two: tuple[Path, float]) -> None:
    file, second_s = two
    flags = ["--url", server.asr, "--insecure", "--format", "json", "--from", f"{second_s:.2f}", "--quiet"]
    status, out, said = transcribe(str(file), *flags, "--to", "0:59")
    assert (status, said) == (0, "")
    answer = json.loads(out)
    assert word_errors(librivox[2].transcript, answer["text"]) <= 3
    assert answer["language"] == "en"
    words = [word for line in answer["lines"] for word in line["words"]]
    assert "".join(word["text"] for word in words).strip() == answer["text"]
    assert second_s <= words[0]["start"] < second_s + 1
    end_s = second_s + answer["duration"]
    assert all(second_s <= word["start"] <= word["end"] <= end_s + 0.1 for word in words)
    assert answer["lines"][0]["start"] == words[0]["start"]


def test_ctrl_c_keeps_the_last_words(server: Running, two: tuple[Path, float]) -> None:
    flags = ["--url", server.asr, "--insecure", "--pace", "realtime", "--language", "en"]
    status, out, said, took_s = interrupted(started(str(two[0]), *flags))
    *shown, last = said.splitlines()
    assert (status, last) == (130, "interrupted") and took_s < 30
    assert out.split() == " ".join(shown).split() and len(out.split()) >= len(shown[0].split())
