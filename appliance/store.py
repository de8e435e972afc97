"""The store: whole files named by their SHA-256, beside unfinished ones that never count as whole.

Layout: ``blobs/<sha256>``, ``partial/`` and ``lock``. A file enters ``blobs`` only by a rename, after
its size and hash were checked.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.digest import sha256_file
from appliance.errors import ApplianceError

log = logging.getLogger(__name__)

DEFAULT_ROOT = Path("build/store")

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


class MismatchError(Exception):
    """A file is not the one that was pinned; it has been removed from ``partial``."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of verified files. Reading needs no lock; adding goes through `lock`."""

    root: Path

    @classmethod
    def configured(cls, root: Path | None = None) -> "Store":
        """The store at ``root``, else at ``WLK_STORE``, else at ``build/store``."""
        return cls(root or Path(os.environ.get("WLK_STORE") or DEFAULT_ROOT))

    def blob(self, sha256: str) -> Path | None:
        """Path of a stored file, if it is there; its content was checked when it was stored."""
        path = self._blob_path(sha256)
        return path if path.is_file() else None

    def verified(self, sha256: str, size: int) -> Path | None:
        """Path of a stored file after reading it through; a damaged one is told and counts as missing."""
        path = self.blob(sha256)
        if path is None:
            return None
        if path.stat().st_size == size and sha256_file(path) == sha256:
            return path
        log.warning("%s is damaged: its content no longer has that SHA-256", path)
        return None

    def partial(self, name: str) -> Path:
        """Where an unfinished file goes; makes the folder."""
        folder = self.root / "partial"
        with self.writing():
            folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def admit(self, partial: Path, sha256: str, size: int) -> Path:
        """Check an unfinished file and rename it into place.

        Raises:
            MismatchError: it is another file than the pinned one; it is deleted, everything else stays.
        """
        found = partial.stat().st_size
        digest = sha256_file(partial) if found == size else ""
        if digest != sha256:
            partial.unlink()
            if found != size:
                raise MismatchError(f"got {found} bytes, the manifest says {size}")
            raise MismatchError(f"got SHA-256 {digest}, the manifest says {sha256}")
        with self.writing():
            path = self._blob_path(sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        return path

    def require_space(self, needed_bytes: int, what: str) -> None:
        """Refuse before the first byte when the disk can't take ``needed_bytes`` more."""
        with self.writing():
            self.root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.root).free
        if free < needed_bytes:
            raise self._full(
                f"{what} needs {needed_bytes / 1e6:.1f} MB more in {self.root}, {free / 1e6:.1f} MB are free"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store against other runs; waits, with a message, while another run holds it."""
        with self.writing():
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("a+", encoding="ascii")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                log.info("waiting for another run (process %s) to finish with the store %s", holder, self.root)
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a full disk or a refused write into an error that says so; other errors pass."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise self._full(f"no space left on the disk of the store {self.root}") from error
            if error.errno in _UNWRITABLE:
                raise ApplianceError(
                    f"cannot write to the store {self.root}: {os.strerror(error.errno)} ({error.filename})",
                    "choose a folder you can write to with --store DIR or WLK_STORE",
                    code="store_unwritable",
                ) from error
            raise

    def _full(self, message: str) -> ApplianceError:
        hint = (
            f"free some space (unfinished downloads lie in {self.root / 'partial'}), "
            "or choose another disk with --store DIR or WLK_STORE"
        )
        return ApplianceError(message, hint, code="store_full")

    def _blob_path(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256
