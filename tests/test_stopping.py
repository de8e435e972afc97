"""How long a stop takes is one figure, and everybody who ends a server waits for longer before a kill."""

import re
from pathlib import Path

import pytest
import yaml

from appliance.server.service import STOP_GRACE_S, STOP_S
from tests.conftest import ROOT

SAID = f"{STOP_S:g} s at most"
ENGINE_S = 15
"""What engines are told to wait; they would kill after 10 s by themselves."""


def found(file: str, pattern: str) -> list[int]:
    return [int(seconds) for seconds in re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"))]


def test_the_parts_of_a_stop_fit() -> None:
    """Last words, their sending, what uvicorn waits for connections (see main.py), and some for the threads."""
    assert STOP_GRACE_S + 1 + 2 < STOP_S < 10 < ENGINE_S


@pytest.mark.parametrize(
    ("file", "pattern", "seconds"),
    [
        ("scripts/run_wlk.sh", r"--stop-timeout (\d+)", ENGINE_S),
        ("systemd/quadlet/wlk.container", r"--stop-timeout=(\d+)", ENGINE_S),
        ("deploy/compose/compose.yaml", r"stop_grace_period: (\d+)s", ENGINE_S),
        ("deploy/kubernetes/base/deployment.yaml", r"terminationGracePeriodSeconds: (\d+)", 30),
        ("systemd/quadlet/wlk.container", r"TimeoutStopSec=(\d+)", 40),
        ("systemd/wlk.service", r"TimeoutStopSec=(\d+)", 40),
        ("systemd/wlk@.service", r"TimeoutStopSec=(\d+)", 40),
    ],
)
def test_who_stops_it_waits_long_enough_and_says_how_long_it_takes(file: str, pattern: str, seconds: int) -> None:
    assert found(file, pattern) == [seconds]
    assert SAID in (ROOT / file).read_text(encoding="utf-8")
    assert seconds > STOP_S


def test_a_pod_has_it_beside_what_it_sleeps_before() -> None:
    pod = yaml.safe_load((ROOT / "deploy/kubernetes/base/deployment.yaml").read_text())["spec"]["template"]["spec"]
    [container] = pod["containers"]
    before_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before_s + STOP_S + 5


@pytest.mark.parametrize("file", ["docs/reliability.md", "docs/fleet.md"])
def test_the_documents_say_it(file: str) -> None:
    assert SAID in (Path(ROOT) / file).read_text(encoding="utf-8")
