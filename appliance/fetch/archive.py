"""Reading one file out of a wheel or a source distribution, without unpacking it."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import IO

from appliance.fetch.errors import SourceError

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, LZMAError, NotImplementedError)


@contextmanager
def open_member(archive: Path, name: str, filename: str) -> Iterator[IO[bytes]]:
    """The content of the regular file called exactly ``name`` in an archive.

    ``filename`` is the distribution's own name, whose ending tells a zip from a tar. Nothing is written
    anywhere, so a name that climbs out of its folder can do no harm.

    Raises:
        SourceError: no such file in it, or the archive is damaged (also while reading).
    """
    try:
        if filename.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as packed:
                if name not in packed.namelist():
                    raise SourceError(f"{filename} has no file {name}")
                with packed.open(name) as file:
                    yield file
        else:
            with tarfile.open(archive, "r:*") as packed_tar, _tar_member(packed_tar, name, filename) as file:
                yield file
    except _DAMAGE as error:
        raise SourceError(f"{filename} is damaged: {error}") from error


def _tar_member(archive: tarfile.TarFile, name: str, filename: str) -> IO[bytes]:
    for member in archive:
        if member.name == name and member.isreg():
            file = archive.extractfile(member)
            if file is not None:
                return file
    raise SourceError(f"{filename} has no file {name}")
