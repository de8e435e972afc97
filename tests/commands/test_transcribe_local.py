"""`transcribe --in-process`: the same result without a server, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_transcribe import transcribe
from tests.commands.test_transcribe_result import NOWHERE, Result, interrupted, ramp, run, started
from tests.conftest import Spoken
from tests.server.running import environment, word_errors

__all__ = ["ramp", "run"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--in-process", "--url", NOWHERE], "--url is about a server"),
        (["--model", "base"], "--model is about models in this process"),
        (["--in-process"], "no model: neither a models directory nor"),
        (["--in-process", "--encoder-dir", "/x"], "no decoder directory"),
        (["--in-process", "--device", "abacus"], "--device (WLK_DEVICE) is 'abacus'"),
    ],
)
def test_wrong_ways(
    ramp: Path, run: Callable[..., Result], flags: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WLK_MODELS_DIR", "WLK_MODEL", "WLK_ENV_FILE", "MODEL"):
        monkeypatch.delenv(name, raising=False)
    status, out, said = run(str(ramp), *flags)
    assert (status, out) == (2, "") and expected in said and "hint:" in said


@pytest.mark.model
def test_a_part_without_a_server(librivox: tuple[Spoken, ...], flags: list[str]) -> None:
    spoken = librivox[0]
    status, out, said = transcribe(str(spoken.path), "--in-process", *flags, "--format", "json", "--from", "0.2")
    assert status == 0, said
    answer = json.loads(out)
    assert word_errors(spoken.transcript, answer["text"]) <= 2
    assert said.startswith("loading base\n") and said.split()[2:] == answer["text"].split()
    words = [word for line in answer["lines"] for word in line["words"]]
    assert "".join(word["text"] for word in words).strip() == answer["text"]
    assert all(0.2 <= word["start"] <= word["end"] <= 0.3 + answer["duration"] for word in words)


@pytest.mark.model
def test_unknown_language_and_missing_models(librivox: tuple[Spoken, ...], flags: list[str]) -> None:
    status, out, said = transcribe(str(librivox[0].path), "--in-process", *flags, "--language", "tlh")
    assert (status, out) == (1, "") and "unknown language: 'tlh'" in said
    env = environment(WLK_MODELS_DIR="/nowhere")
    status, out, said = transcribe(str(librivox[0].path), "--in-process", env=env)
    assert (status, out) == (1, "") and "no such folder: /nowhere" in said


@pytest.mark.model
def test_ctrl_c_without_a_server(librivox: tuple[Spoken, ...], flags: list[str]) -> None:
    program = started(str(librivox[0].path), "--in-process", *flags, "--pace", "realtime", "--language", "en")
    assert program.stderr is not None and program.stderr.readline() == "loading base\n"
    status, out, said, took_s = interrupted(program)
    *shown, last = said.splitlines()
    assert (status, last) == (130, "interrupted") and took_s < 30
    assert out.split() == " ".join(shown).split()
