"""The ways a file comes over a network: plain HTTP, Hugging Face, and the Python index."""

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from appliance.digest import sha256_file
from appliance.fetch.archive import open_member
from appliance.fetch.errors import SourceError
from appliance.fetch.http import HttpClient, etag_file
from appliance.fetch.index import Distribution, PythonIndex
from appliance.fetch.pip_settings import PipSettings, read_pip_settings
from appliance.manifest import HuggingfaceSource, IndexPart, IndexSource, OpenaiSource
from appliance.store import MismatchError, Store

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 18
_STRONG = ("sha512", "sha384", "sha256")


class Transports:
    """Connections and archives of one run; a context manager that deletes the archives at its end."""

    def __init__(self, store: Store, client: HttpClient | None = None, settings: PipSettings | None = None) -> None:
        self._store = store
        self._client = client or HttpClient()
        self._settings = settings
        self._index: PythonIndex | None = None
        self._archives: dict[str, Path] = {}
        self._complete: list[Path] = []

    def __enter__(self) -> "Transports":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.session.close()
        if kind is not None and not issubclass(kind, Exception):
            return  # interrupted: the next run goes on from what is here
        for archive in self._complete:
            archive.unlink(missing_ok=True)
        if kind is None:
            for left in self._store.partial("").glob("*.archive*"):
                left.unlink(missing_ok=True)

    def obtain(self, name: str, source: OpenaiSource | HuggingfaceSource | IndexSource) -> Path:
        """Bring a source's file into the store and return its path there.

        Raises:
            SourceError, MismatchError: this source did not give the pinned file.
        """
        if isinstance(source, OpenaiSource):
            return self._from_web(name, source)
        if isinstance(source, HuggingfaceSource):
            return self._from_hub(name, source)
        return self._from_index(name, source)

    def _from_web(self, name: str, source: OpenaiSource) -> Path:
        partial = self._store.partial(f"{source.sha256}.partial")
        resumed = self._download(self._client, source.url, partial, source.size, name)
        try:
            return self._admit(partial, source.sha256, source.size)
        except MismatchError as error:
            if not resumed:
                raise
            log.info("%s: what was here of an earlier download does not fit (%s); starting again", name, error)
        self._download(self._client, source.url, partial, source.size, name)
        return self._admit(partial, source.sha256, source.size)

    def _from_hub(self, name: str, source: HuggingfaceSource) -> Path:
        from appliance.fetch import hub

        folder = self._store.partial(f"hub-{source.sha256[:16]}")
        self._store.require_space(source.size - _bytes_in(folder), source.label)
        with self._store.writing():
            path = hub.download(source, folder, self._client, name)
        try:
            return self._store.admit(path, source.sha256, source.size)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _from_index(self, name: str, source: IndexSource) -> Path:
        partial = self._store.partial(f"{source.sha256}.joined")
        archives = [self._archive(part, name) for part in source.parts]
        self._store.require_space(source.size, name)
        try:
            with self._store.writing(), partial.open("wb") as joined:
                for part, (archive, filename) in zip(source.parts, archives, strict=True):
                    with open_member(archive, part.file, filename) as member:
                        digest = hashlib.sha256()
                        while piece := member.read(_PIECE_BYTES):
                            digest.update(piece)
                            joined.write(piece)
                            if joined.tell() > source.size:
                                raise SourceError(f"{part.file} is larger than the manifest says")
                    if digest.hexdigest() != part.sha256:
                        raise MismatchError(f"{part.file} has SHA-256 {digest.hexdigest()}, not {part.sha256}")
            return self._store.admit(partial, source.sha256, source.size)
        finally:
            partial.unlink(missing_ok=True)

    def _archive(self, part: IndexPart, name: str) -> tuple[Path, str]:
        """A distribution that holds a part, as (file on this machine, its own file name); fetched once a run."""
        troubles: list[str] = []
        try:
            for found in self._python_index().candidates(part):
                try:
                    if found.url not in self._archives:
                        self._archives[found.url] = self._checked_archive(found, name)
                    return self._archives[found.url], found.filename
                except SourceError as error:
                    troubles.append(f"{found.filename}: {error}")
        except SourceError as error:
            troubles.append(str(error))
        raise SourceError("; ".join(dict.fromkeys(troubles)))

    def _checked_archive(self, found: Distribution, name: str) -> Path:
        if found.path is not None:
            if not found.path.is_file():
                raise SourceError(f"{found.path} is listed, but is not there")
            _check_digests(found.path, found)
            return found.path
        key = found.digests.get("sha256") or hashlib.sha256(found.url.encode()).hexdigest()
        partial = self._store.partial(f"{key}.archive")
        kept = partial.exists()
        if not (kept and found.digests.get("sha256") == sha256_file(partial)):  # an interrupted run may have left it
            kept = self._download(
                self._python_index().client, found.url, partial, found.size, f"{name}, {found.filename}"
            )
        try:
            _check_digests(partial, found)
        except SourceError:
            partial.unlink()
            if not kept:
                raise
            return self._checked_archive(found, name)
        finally:
            etag_file(partial).unlink(missing_ok=True)
        self._complete.append(partial)
        return partial

    def _download(self, client: HttpClient, url: str, partial: Path, size: int | None, label: str) -> bool:
        def claim(more: int) -> None:
            self._store.require_space(more, label)

        if size is not None:
            claim(size - (partial.stat().st_size if partial.exists() else 0))
        with self._store.writing():
            return client.download(url, partial, size=size, label=label, claim=claim)

    def _admit(self, partial: Path, sha256: str, size: int) -> Path:
        try:
            return self._store.admit(partial, sha256, size)
        finally:
            etag_file(partial).unlink(missing_ok=True)

    def _python_index(self) -> PythonIndex:
        if self._index is None:
            settings = self._settings or read_pip_settings()
            proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else {}
            client = replace(
                self._client,
                verify=settings.cert or True,
                client_cert=settings.client_cert,
                proxies=proxies,
                unreachable={},
            )
            self._index = PythonIndex(settings, client)
        return self._index


def _check_digests(archive: Path, found: Distribution) -> None:
    """Hold an archive against the strongest hash its index gives; a plain folder gives none."""
    for algorithm in _STRONG:
        expected = found.digests.get(algorithm)
        if expected is None:
            continue
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        if digest != expected:
            raise SourceError(f"{found.filename} has {algorithm} {digest}, the index says {expected}")
        return


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
