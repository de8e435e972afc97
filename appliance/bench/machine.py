"""What was measured on what: machine, versions, commit, date. A figure without them says little."""

import os
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from appliance import __version__
from appliance.run import run

_PACKAGES = ("torch", "ctranslate2", "faster-whisper", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores``: those this process may use."""

    cpu: str
    cores: int
    memory_gib: float
    system: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """``commit``: of the sources, with ``+changes`` where they differ from it; None outside a checkout."""

    date: str
    commit: str | None
    machine: Machine
    versions: dict[str, str]


def circumstances() -> Circumstances:
    """Of this run, on this machine."""
    return Circumstances(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_of(Path(__file__).parent),
        machine=Machine(
            cpu=_cpu_name(Path("/proc/cpuinfo")),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
        ),
        versions={"wlk-appliance": __version__, "python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _cpu_name(cpuinfo: Path) -> str:
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.machine()


def commit_of(folder: Path) -> str | None:
    """The commit that a folder is checked out from, with ``+changes`` where its files differ; None where none."""
    if shutil.which("git") is None:
        return None
    asked = run(["git", "-C", folder, "rev-parse", "HEAD"], check=False, capture=True, timeout_s=20)
    if asked.returncode != 0:
        return None
    changed = run(["git", "-C", folder, "status", "--porcelain", "."], check=False, capture=True, timeout_s=20)
    return asked.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
