"""Taking a file from this machine into the store."""

import shutil
from pathlib import Path

from appliance.fetch.errors import SourceError
from appliance.manifest import LocalSource
from appliance.store import Store


def copy_in(source: LocalSource, store: Store) -> Path:
    """Copy a local source's file into the store and check it.

    Raises:
        SourceError: there is no such file, or it can't be read.
        MismatchError: it is not the pinned file; the original stays as it is.
    """
    location = source.location
    try:
        opened = location.open("rb")
    except OSError as error:
        raise SourceError(f"cannot read it: {error.strerror}") from error
    with opened as file:
        size = location.stat().st_size
        if size != source.size:
            raise SourceError(f"it has {size} bytes, the manifest says {source.size}")
        store.require_space(source.size, str(location))
        partial = store.partial(f"{source.sha256}.copy")
        try:
            with store.writing(), partial.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            return store.admit(partial, source.sha256, source.size)
        finally:
            partial.unlink(missing_ok=True)
