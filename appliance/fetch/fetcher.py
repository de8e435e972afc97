"""Trying an item's sources in order until one gives the pinned file."""

import logging
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from appliance.errors import ApplianceError
from appliance.fetch.errors import SourceError
from appliance.manifest import Item, LocalSource, Source
from appliance.store import MismatchError, Store

if TYPE_CHECKING:
    from appliance.fetch.transports import Transports

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified file in the store. ``reused``: it was there already, and no source was asked."""

    path: Path
    sha256: str
    size: int
    format: str
    source: str
    reused: bool = False


def fetch_item(item: Item, store: Store, *, offline: bool = False, formats: Collection[str] | None = None) -> Artifact:
    """Fetch one item; several are better fetched with one `Fetcher`, which downloads a shared archive once.

    Raises:
        ApplianceError: no source gave the file, or the store can't take it.
    """
    with Fetcher(store, offline=offline) as fetcher:
        return fetcher.fetch(item, formats)


class Fetcher:
    """One run of fetching. Holds the store's lock from the first download to the end; a context manager."""

    def __init__(self, store: Store, *, offline: bool = False) -> None:
        self._store = store
        self._offline = offline
        self._held = ExitStack()
        self._transports: Transports | None = None
        self._locked = False

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._locked = False
        self._held.__exit__(kind, error, trace)

    def fetch(self, item: Item, formats: Collection[str] | None = None) -> Artifact:
        """The verified file of an item: one that is in the store already, else from the first source that works.

        Args:
            formats: take only sources of these formats.

        Raises:
            ApplianceError: no source gave the file, or the store can't take it.
        """
        sources = [source for source in item.sources if formats is None or source.format in formats]
        if not sources:
            known = ", ".join(dict.fromkeys(source.format for source in item.sources))
            raise ApplianceError(
                f"{item.name} has no source of format {' or '.join(formats or ())}", f"it has: {known}"
            )
        stored = self._stored(sources)
        if stored is not None:
            return stored
        usable = [source for source in sources if isinstance(source, LocalSource) or not self._offline]
        if not usable:
            raise self._not_in_store(item)
        if not self._locked:
            self._held.enter_context(self._store.lock())
            self._locked = True
            stored = self._stored(sources)  # the run that held the lock may have fetched it
            if stored is not None:
                return stored
        return self._from_sources(item, usable)

    def _stored(self, sources: Collection[Source]) -> Artifact | None:
        for source in sources:
            path = self._store.verified(source.sha256, source.size)
            if path is not None:
                return Artifact(path, source.sha256, source.size, source.format, source.label, reused=True)
        return None

    def _from_sources(self, item: Item, sources: Collection[Source]) -> Artifact:
        line = ""
        for source in sources:
            if line:
                log.warning("%s: %s; trying %s", item.name, line, source.label)
            try:
                path = self._obtain(item, source)
            except (SourceError, MismatchError) as error:
                line = f"{source.label}: {error}"
            else:
                return Artifact(path, source.sha256, source.size, source.format, source.label)
        if self._offline:
            raise self._not_in_store(item)
        which = "its only source" if len(sources) == 1 else f"the last of {len(sources)} sources"
        raise ApplianceError(
            f"{item.name} can't be fetched: {which} failed: {line}",
            "check this machine's network and pip settings, or give the file by a `local` source in the manifest",
            code="fetch_failed",
        )

    def _obtain(self, item: Item, source: Source) -> Path:
        if isinstance(source, LocalSource):
            from appliance.fetch.local import copy_in

            return copy_in(source, self._store)
        if self._transports is None:
            from appliance.fetch.transports import Transports

            self._transports = self._held.enter_context(Transports(self._store))
        return self._transports.obtain(item.name, source)

    def _not_in_store(self, item: Item) -> ApplianceError:
        return ApplianceError(
            f"{item.name} is not in the store {self._store.root}, and --offline forbids fetching it",
            f"run `wlk-appliance fetch {item.name}` where there is a network, then bring the store here",
            code="not_in_store",
        )
