"""The units as systemd's own checker sees them; tests/boot starts them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.server.flags import unknown_variables
from tests.conftest import ROOT, missing

UNITS = sorted(path.name for pattern in ("*.service", "*.timer") for path in (ROOT / "systemd").glob(pattern))
SERVICES = [name for name in UNITS if name.endswith(".service")]
TARGETS = ("sysinit", "basic", "shutdown", "multi-user", "timers", "network", "time-set", "time-sync")


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is not installed: apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_these_are_the_units() -> None:
    assert UNITS == ["wlk-cert.service", "wlk-cert.timer", "wlk-load.service", "wlk.service", "wlk@.service"]


def installed(root: Path, podman: bool = False) -> Path:
    """A root file system with the units in it, and targets that they name."""
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in UNITS:
        shutil.copy(ROOT / "systemd" / name, units)
    for name in SERVICES if podman else ():
        (units / f"{name}.d").mkdir()
        shutil.copy(ROOT / "systemd/podman.conf", units / f"{name}.d")
    for name in TARGETS:
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n", encoding="utf-8")
    release = root / "opt/wlk/current"
    release.mkdir(parents=True)
    shutil.copy(ROOT / "scripts/service.sh", release)
    shutil.copytree(ROOT / "docs", release / "docs")
    return units


@pytest.mark.parametrize("podman", [False, True])
@pytest.mark.parametrize("unit", [name.replace("@.", "@large.") for name in UNITS])
def test_systemd_finds_nothing_to_remark(unit: str, podman: bool, tmp_path: Path) -> None:
    installed(tmp_path, podman)
    done = analyze("verify", f"--root={tmp_path}", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_checker_does_remark_what_is_wrong(tmp_path: Path) -> None:
    units = installed(tmp_path)
    with (units / "wlk.service").open("a", encoding="utf-8") as unit:
        unit.write("[Service]\nRestartSteps=maybe\nProtectEverything=yes\n")
    done = analyze("verify", f"--root={tmp_path}", "wlk.service")
    assert "ProtectEverything" in done.stderr


EXPOSED = {"wlk-cert.service": 1.8}
"""At most, of 10, where it is not 1.0: figures of docs/security.md."""


@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(unit: str) -> None:
    done = analyze("security", "--offline=true", ROOT / "systemd" / unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSED.get(unit, 1.0)


def test_both_services_differ_by_the_instance_alone() -> None:
    one, many = ((ROOT / "systemd" / name).read_text(encoding="utf-8") for name in ("wlk.service", "wlk@.service"))
    same = (
        many.replace(", instance %i", "")
        .replace("Environment=WLK_INSTANCE=%i\n", "")
        .replace("=wlk@%i\n", "=wlk\n")
        .replace(" and /etc/wlk/%i.env", "")
        .replace("wlk-service-%i", "wlk-service")
    )
    assert same == one


def test_the_unit_of_quadlet_is_as_the_other_one() -> None:
    """Podman's own generator reads it in tests/boot."""
    rows, other = (
        set((ROOT / "systemd" / name).read_text(encoding="utf-8").splitlines())
        for name in ("quadlet/wlk.container", "wlk.service")
    )
    same = (
        "LogRateLimit",
        "Timeout",
        "Watchdog",
        "Restart=",
        "RestartPrevent",
        "ExecStartPost=",
        "ExecStopPost=",
        "Requires=",
        "Wants=",
        "Assert",
    )
    assert {row for row in other if row.startswith(same)} == {row for row in rows if row.startswith(same)}
    assert {"ReadOnly=true", "DropCapability=all", "NoNewPrivileges=true", "ContainerName=wlk-service"} <= rows


def test_every_setting_of_the_file_is_explained_and_known_to_the_server() -> None:
    rows = (ROOT / "systemd/wlk.env").read_text(encoding="utf-8").splitlines()
    names = [row.partition("=")[0] for row in rows if row and not row.startswith("#")]
    assert unknown_variables(dict.fromkeys(names, "")) == []
    assert {"WLK_MODEL", "WLK_PORT", "WLK_LANGUAGE", "WLK_GPUS", "WLK_DIARIZATION", "WLK_TOKEN"} <= set(names)
    for name in names:
        place = next(number for number, row in enumerate(rows) if row.startswith(f"{name}="))
        assert rows[place - 1].startswith("# "), f"{name} is not explained"


def test_documents_that_the_file_names_lie_beside_the_release() -> None:
    told = re.findall(r"([\w./]+\.md)", (ROOT / "systemd/wlk.env").read_text(encoding="utf-8"))
    assert told and all((ROOT / name).is_file() and name.startswith("docs/") for name in told)


def test_an_installed_box_lets_its_own_page_alone_connect() -> None:
    assert "WLK_ALLOWED_ORIGINS=same" in (ROOT / "systemd/wlk.env").read_text(encoding="utf-8").splitlines()
