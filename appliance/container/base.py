"""The base image: the pinned one where a registry has it, else a Debian stand-in made on this host.

The stand-in is Debian's own minimal system with its own Python, from the package mirror that this
host's apt already uses, pruned the way slim images are. It needs root, as debootstrap does.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.container.engine import Engine, LocalImage
from appliance.container.reproducible import pack_root
from appliance.container.target import Target, can_run
from appliance.errors import ApplianceError
from appliance.packages import install_packages
from appliance.run import output, run

log = logging.getLogger(__name__)

BASE_VARIABLE = "WLK_BASE"
"""A base image to use as it is; it must hold python3 3.11 and glibc 2.28 or newer."""

_SUITE = "bookworm"
_PACKAGES = ("python3-minimal", "python3", "ca-certificates", "tzdata")
_REGISTRY_ANSWER_S = 15.0
_PULL_S = 1800.0
# What slim images leave out too; copyright files stay, as the licences ask.
_PRUNED = (
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "etc/apt/sources.list",
    "etc/resolv.conf",
    "etc/hostname",
)
_RECIPE = "4"
"""Part of the stand-in's tag: count up when what goes into it changes."""


def stand_in_name(architecture: str) -> str:
    """Name and tag of the stand-in image; the tag changes with its recipe."""
    recipe = hashlib.sha256("\n".join([_RECIPE, _SUITE, *_PACKAGES, *_PRUNED]).encode()).hexdigest()[:8]
    return f"wlk-appliance-base:{_SUITE}-{architecture}-{recipe}"


def ensure_base(engine: Engine, target: Target, architecture: str, cache_dir: Path) -> LocalImage:
    """A base image that is present locally, pulling it or making the stand-in first.

    Args:
        cache_dir: where the stand-in's archive is kept (about 200 MB).

    Raises:
        ApplianceError: neither the pinned image nor a stand-in is to be had on this host, or the one that was named
            is for other machines.
    """
    chosen = os.environ.get(BASE_VARIABLE)
    if chosen:
        own = engine.describe(chosen) or _pulled(engine, chosen, architecture)
        if own.architecture != architecture:
            raise ApplianceError(
                f"the base {chosen} is for {own.architecture}, not for {architecture}",
                f"name one for {architecture} in {BASE_VARIABLE}, or build for ARCH={own.architecture}",
            )
        return own
    stand_in = stand_in_name(architecture)
    for name in (target.base, stand_in):
        found = engine.describe(name)
        if found is not None and found.architecture == architecture:
            log.info("base image: %s", name)
            return found
    if _registry_answers(engine, target.base):
        return _pulled(engine, target.base, architecture)
    if not target.has_stand_in or not can_run(architecture):
        raise ApplianceError(
            f"the base image of {target.name} can't be had: no registry answers for {target.base}",
            f"pull it on a connected host, carry it here and load it, or name another one: {BASE_VARIABLE}=IMAGE",
        )
    archive = cache_dir / f"{stand_in.replace(':', '-')}.tar"
    if not archive.is_file():
        log.warning("no image registry answers: making the base %s with debootstrap", stand_in)
        _make_archive(archive, stand_in, architecture)
    engine.load(archive)
    return _present(engine, stand_in)


def _pulled(engine: Engine, name: str, architecture: str) -> LocalImage:
    log.info("base image: pulling %s", name)
    words = ["pull", "--quiet", f"--platform=linux/{architecture}", name]
    engine.run(words, capture=True, timeout_s=_PULL_S, hint="try again, or set " + BASE_VARIABLE)
    return _present(engine, name)


def _present(engine: Engine, name: str) -> LocalImage:
    found = engine.describe(name)
    if found is None:
        raise ApplianceError(f"{engine.program} took the base {name} and does not have it", "is its disk full? df -h")
    return found


def _registry_answers(engine: Engine, name: str) -> bool:
    """Whether the image's registry knows it; bounded, so that a silent network costs seconds only."""
    try:
        done = engine.run(["manifest", "inspect", name], check=False, capture=True, timeout_s=_REGISTRY_ANSWER_S)
    except ApplianceError as error:
        log.info("registry: %s", error.message)
        return False
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        log.info("registry: %s", said[-1] if said else "no answer")
    return done.returncode == 0


def make_root(root: Path, architecture: str, packages: Sequence[str], suite: str = _SUITE) -> None:
    """Lay out Debian's minimal system with these packages, up to date and pruned; what was there is removed.

    Args:
        suite: of this host's Debian, or another one that its mirror has.

    Raises:
        ApplianceError: not root, no Debian host, or its mirror does not give what is needed.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ApplianceError("a Debian system can be laid out by root on a Debian host only", "run it there, as root")
    if shutil.which("debootstrap") is None:
        log.warning("installing debootstrap, to lay out a Debian system")
        install_packages(["debootstrap"], "to lay out a Debian system")
    mirrors = {name.replace(_SUITE, suite): address for name, address in _mirrors().items()}
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    words = ["debootstrap", f"--arch={architecture}", "--variant=minbase", f"--include={','.join(packages)}"]
    run([*words, suite, str(root), mirrors[suite]], capture=True, hint=f"read {root}/debootstrap/debootstrap.log")
    _take_updates(root, mirrors)
    _prune(root)


def _make_archive(archive: Path, name: str, architecture: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ApplianceError(
            "no image registry answers, and the stand-in base needs root on a Debian host",
            f"make it elsewhere and load it, or name a base image of yours: {BASE_VARIABLE}=IMAGE",
        )
    root = archive.parent / "root"
    make_root(root, architecture, _PACKAGES)
    files, partial = archive.with_name("files.tar"), archive.with_name(archive.name + ".partial")
    left_out = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys", "tmp")]
    words = ["tar", "--create", "--file", str(files), "--directory", str(root), "--numeric-owner", "--sort=name"]
    run([*words, "--one-file-system", *left_out, "."])
    settings = {"Cmd": ["python3"], "Env": ["LANG=C.UTF-8"]}
    pack_root(files, partial, tag=name, architecture=architecture, settings=settings)
    partial.rename(archive)
    files.unlink()
    shutil.rmtree(root)


def _mirrors() -> dict[str, str]:
    """Address per suite of Debian's main packages, as this host's apt is configured.

    Raises:
        ApplianceError: apt here has no source for the suite.
    """
    words = ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    mirrors: dict[str, str] = {}
    for line in output(words).splitlines():
        release, component, address = line.split()
        if component == "main" and release in (_SUITE, f"{_SUITE}-updates", f"{_SUITE}-security"):
            mirrors.setdefault(release, address)
    if _SUITE not in mirrors:
        raise ApplianceError(
            f"this host's apt has no source for Debian {_SUITE}, so no stand-in base can be made",
            f"add one, or name a base image of yours: {BASE_VARIABLE}=IMAGE",
        )
    return mirrors


def _take_updates(root: Path, mirrors: dict[str, str]) -> None:
    """Security and point updates, which debootstrap leaves out, with this host's apt settings."""
    lines = [f"deb {address} {suite} main\n" for suite, address in mirrors.items()]
    (root / "etc/apt/sources.list").write_text("".join(lines), encoding="utf-8")
    settings = [line.rstrip(";") for line in output(["apt-config", "dump"]).splitlines() if "Proxy" in line]
    options = [word for line in settings for word in ("-o", line.replace(' "', "=", 1).rstrip('"'))]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    policy = root / "usr/sbin/policy-rc.d"  # asked before a service is started, which none is to be here
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    for words in (["update"], ["upgrade", "--yes"], ["clean"]):
        run(["chroot", root, "apt-get", "-qq", *options, *words], capture=True, env=environment)
    policy.unlink()


def _prune(root: Path) -> None:
    for part in _PRUNED:
        path = root / part
        if path.is_dir():
            for child in path.iterdir():
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        else:
            path.unlink(missing_ok=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.name != "copyright" and (path.is_symlink() or not path.is_dir()):
            path.unlink()
