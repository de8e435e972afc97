"""Source code that a target compiles: fetched by commit with git, before the build, into archives that come out alike.

A commit's identifier is a digest over all its files and those of its submodules, so it pins what comes from wherever.
"""

import logging
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.container.commit import EARLIEST_S
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.packages import install_packages
from appliance.run import output, run

log = logging.getLogger(__name__)

VERSIONS_FILE = "versions.env"
"""In a target's folder: assignments that its build scripts read too."""

_ASSIGNMENT = re.compile(r"^([A-Z0-9_]+)=(\S+)$", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at a commit. Told in `VERSIONS_FILE` by ``NAME_SOURCE``, ``NAME_VERSION`` and ``NAME_COMMIT``."""

    name: str
    version: str
    commit: str
    address: str


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """A source with its submodules as a tar file, the same bytes wherever it was made."""

    source: Source
    path: Path
    sha256: str


def read_sources(folder: Path) -> tuple[Source, ...]:
    """What the target of that folder compiles.

    Raises:
        ApplianceError: a source lacks its version, or its commit is none.
    """
    file = folder / VERSIONS_FILE
    if not file.is_file():
        return ()
    told = dict(_ASSIGNMENT.findall(file.read_text(encoding="utf-8")))
    found = []
    for key, address in sorted(told.items()):
        name, is_source, _ = key.partition("_SOURCE")
        if not is_source:
            continue
        version, commit = told.get(f"{name}_VERSION", ""), told.get(f"{name}_COMMIT", "")
        if not version or not _COMMIT.fullmatch(commit):
            raise ApplianceError(
                f"{file} does not pin {name}", f"it needs {name}_VERSION=..., and {name}_COMMIT= with 40 digits"
            )
        found.append(Source(name.lower(), version, commit, address))
    return tuple(found)


def fetch_sources(sources: Sequence[Source], build: Path) -> list[SourceArchive]:
    """The archives of sources, in a folder of their own below ``build``; raises as `fetch_source`."""
    return [fetch_source(source, build / "sources") for source in sources]


def fetch_source(source: Source, folder: Path) -> SourceArchive:
    """The archive ``folder/NAME-COMMIT.tar`` of a source with its submodules; made once.

    Beside it lies its SHA-256; an archive that does not match it is made again.

    Raises:
        ApplianceError: the repository can't be had, or has no such commit.
    """
    archive = folder / f"{source.name}-{source.commit}.tar"
    sums = archive.with_suffix(".tar.sha256")
    if archive.is_file() and sums.is_file():
        digest = sha256_file(archive)
        if sums.read_text(encoding="ascii").split()[:1] == [digest]:
            return SourceArchive(source, archive, digest)
    if shutil.which("git") is None:
        install_packages(["git"], f"to fetch the source of {source.name}")
    log.info("source: fetching %s %s (%s)", source.name, source.version, source.commit[:12])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        tree = Path(scratch, "tree")
        _check_out(source, tree)
        partial = Path(scratch, archive.name)
        _pack(tree, partial)
        partial.rename(archive)
    digest = sha256_file(archive)
    sums.write_text(f"{digest}  {archive.name}\n", encoding="ascii")
    return SourceArchive(source, archive, digest)


def _check_out(source: Source, tree: Path) -> None:
    hint = f"can this host reach {source.address}? git config url.MIRROR.insteadOf names another place"
    run(["git", "init", "--quiet", tree], capture=True)
    git = ["git", "-C", str(tree)]
    run([*git, "fetch", "--quiet", "--depth=1", source.address, source.commit], capture=True, hint=hint)
    run([*git, "-c", "advice.detachedHead=false", "checkout", "--quiet", source.commit], capture=True)
    found = output([*git, "rev-parse", "HEAD"])
    if found != source.commit:
        raise ApplianceError(f"{source.address} gave commit {found} of {source.name}", f"asked for {source.commit}")
    words = ["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"]
    run([*git, *words], capture=True, hint=hint)


def _pack(tree: Path, archive: Path) -> None:
    """All files but git's own: sorted, owned by root, of 1980, executable or not."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(entry.name).name == ".git":
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = EARLIEST_S
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as out:
        out.add(tree, arcname=".", filter=plain)  # takes the entries of a folder in sorted order
