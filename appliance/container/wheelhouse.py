"""Downloads the wheels of a lock file into one folder, with the host's own pip settings, and checks each of them.

Every wheel is pinned by hash, so it does not matter which index or folder it came from.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.accounts.components import plain_name
from appliance.container.lock import Pin, read_lock
from appliance.container.target import MACHINES, Target, host_architecture
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.run import run

log = logging.getLogger(__name__)

TORCH_INDEX_VARIABLE = "WLK_TORCH_INDEX"
"""Index that has the CPU build of torch; set it where a mirror of ours holds it."""

_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_INDEX_ANSWER_S = 3
_GLIBC_MINORS = (36, 35, 34, 31, 28, 27, 26, 24, 17)
"""Of the wheels that Debian 12 (glibc 2.36) can load."""


def target_wheels(target: Target, architecture: str, build: Path) -> list[Path]:
    """The wheels that the locks of a target name, in a folder of its own below ``build``.

    Raises:
        ApplianceError: a wheel is to be had nowhere.
    """
    return fill_wheelhouse(
        target.locks,
        build / "wheelhouse" / f"{target.name}-{architecture}",
        python=target.python,
        architecture=architecture,
        sdists=target.sdists,
    )


def fill_wheelhouse(
    locks: list[Path], folder: Path, *, python: str, architecture: str, sdists: Sequence[str] = ()
) -> list[Path]:
    """Make the folder hold exactly the locked wheels, and return them sorted by name.

    Nothing is downloaded, and no socket opened, when they are all there or in a wheelhouse beside it.

    Args:
        python: the version that will install them, such as 3.11.
        architecture: the machine that will, ``amd64`` or ``arm64``; this one need not be like it.
        sdists: packages published without a wheel: their source archive is taken, and pip makes a wheel as it installs.

    Raises:
        ApplianceError: a wheel is to be had nowhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pins = [pin for lock in locks for pin in read_lock(lock) if pin.is_for(MACHINES[architecture])]
    missing = _not_in_others(_missing(pins, folder), folder)
    if missing:
        log.info("wheelhouse: downloading %d of %d wheels for %s", len(missing), len(pins), architecture)
        options = ["--python-version", python, *_platform_options(architecture)]
        options += [f"--no-binary={name}" for name in sdists]
        torch = [pin for pin in missing if pin.name == "torch"]
        if torch:
            _download_torch(torch[0], folder, options)
        _download([pin for pin in missing if pin.name != "torch"], folder, options)
        missing = _missing(pins, folder)
    if missing:
        raise ApplianceError(
            f"wheels are missing in {folder}: {', '.join(pin.name for pin in missing)}",
            "regenerate the lock: make lock",
        )
    wheels = sorted(folder.iterdir())
    log.info("wheelhouse: %d wheels, %.0f MB", len(wheels), sum(wheel.stat().st_size for wheel in wheels) / 1e6)
    return wheels


def _platform_options(architecture: str) -> list[str]:
    """What tells pip of a machine that is not like this one."""
    if architecture == host_architecture():
        return []
    machine = MACHINES[architecture]
    return [word for glibc in _GLIBC_MINORS for word in ("--platform", f"manylinux_2_{glibc}_{machine}")]


def _missing(pins: list[Pin], folder: Path) -> list[Pin]:
    """Pins without a wheel in the folder; wheels that no pin allows are removed."""
    allowed = {digest for pin in pins for digest in pin.hashes}
    present: set[str] = set()
    for wheel in folder.iterdir():
        digest = sha256_file(wheel)
        if digest in allowed:
            present.add(digest)
        else:
            wheel.unlink()
    return [pin for pin in pins if not pin.hashes & present]


def _not_in_others(pins: list[Pin], folder: Path) -> list[Pin]:
    """Link wheels that other targets have here already; returns the pins whose wheel none has."""
    others = [wheel for wheel in sorted(folder.parent.glob("*/*.whl")) if wheel.parent != folder]
    return [pin for pin in pins if not any(_link(pin, wheel, folder / wheel.name) for wheel in others)]


def _link(pin: Pin, wheel: Path, target: Path) -> bool:
    if plain_name(wheel.name.partition("-")[0]) != plain_name(pin.name):
        return False
    if target.exists() or sha256_file(wheel) not in pin.hashes:
        return False
    os.link(wheel, target)
    return True


def _download(pins: list[Pin], folder: Path, options: list[str]) -> None:
    if not pins:
        return
    requirements = folder.parent / f"{folder.name}.requirements.txt"
    requirements.write_text("".join(pin.as_requirement() + "\n" for pin in pins), encoding="utf-8")
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    words += ["--only-binary=:all:", "--require-hashes"]
    words += [*options, "--dest", str(folder), "--requirement", str(requirements)]
    try:
        run(words, capture=True, hint="check pip's settings on this host: pip config list")
    finally:
        requirements.unlink(missing_ok=True)


def _download_torch(pin: Pin, folder: Path, options: list[str]) -> None:
    """The CPU build of torch: from the index given, else from pip's own places, else from PyTorch's if it answers."""
    given = os.environ.get(TORCH_INDEX_VARIABLE)
    if given:
        _download([pin], folder, [*options, "--extra-index-url", given])
        return
    try:
        _download([pin], folder, options)
    except ApplianceError as error:
        if not _index_answers(_TORCH_CPU_INDEX):
            raise ApplianceError(
                f"torch {pin.version} (CPU build) is in none of pip's configured places, "
                f"and {_TORCH_CPU_INDEX} does not answer",
                f"put the wheel into a folder and set PIP_FIND_LINKS=FOLDER, or set {TORCH_INDEX_VARIABLE}=ADDRESS",
            ) from error
        _download([pin], folder, [*options, "--extra-index-url", _TORCH_CPU_INDEX])


def _index_answers(address: str) -> bool:
    words = [sys.executable, "-m", "pip", "index", "versions", "torch", "--index-url", address]
    words += ["--timeout", str(_INDEX_ANSWER_S), "--retries", "0", "--disable-pip-version-check"]
    try:
        return run(words, check=False, capture=True, timeout_s=2 * _INDEX_ANSWER_S).returncode == 0
    except ApplianceError:
        return False
