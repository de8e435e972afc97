"""Image archives, as `docker save` and `podman save` write them: what is in one, read without an engine, in one pass.

Format: the Docker image specification v1.2 (``manifest.json``, one configuration, a tar file for each layer); newer
engines store the same files under the names of an OCI layout.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from appliance.errors import ApplianceError

_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20
"""Members up to this size are kept while the archive is read: what they are is known at its end only."""

_MOST_SMALL = 512
_MOST_FILE_BYTES = 64 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Layer:
    """``diff_id``: SHA-256 of the uncompressed tar; ``size``: of its files, in bytes; ``step``: what made it."""

    diff_id: str
    size: int
    step: str


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """The first image of an archive. ``files``: content of those asked for, by path without a leading slash."""

    tags: tuple[str, ...]
    image_id: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    files: dict[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all files of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.config.get("config", {}).get("Labels") or {})


@dataclass(slots=True)
class _Content:
    """What was seen of a layer's tar."""

    diff_id: str
    size: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Paths that it removes from the layers below."""


def read_archive(path: Path, wanted: Callable[[str], bool] = lambda name: False) -> ArchivedImage:
    """Read an archive (plain or gzip) from its beginning to its end.

    Args:
        wanted: which files of the image to keep, by path without a leading slash; links are not followed.

    Raises:
        ApplianceError: it is no image archive, is cut short, or a layer is not what the configuration says.
    """
    try:
        with tarfile.open(path, "r|*") as outer:
            small, layers, links = _members(outer, wanted)
    except FileNotFoundError as error:
        raise ApplianceError(f"no archive {path}", "look at the name, or make it: make save") from error
    except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as error:
        raise ApplianceError(
            f"{path} can't be read as an archive: {error}", "it may be damaged on the way: compare its SHA-256"
        ) from error
    try:
        entry = json.loads(small["manifest.json"])[0]
        config_bytes = small[links.get(entry["Config"], entry["Config"])]
        config = json.loads(config_bytes)
        names = [links.get(name, name) for name in entry["Layers"]]
        diff_ids = config["rootfs"]["diff_ids"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ApplianceError(f"{path} is no image archive", "make one with `docker save`, or: make save") from error
    contents = []
    for name, expected in zip(names, diff_ids, strict=True):
        content = layers.get(name) or (_content(io.BytesIO(small[name]), wanted) if name in small else None)
        if content is None or content.diff_id != expected:
            raise ApplianceError(
                f"{path}: layer {expected[:19]} is {'missing' if content is None else 'damaged'}",
                "copy the archive again, and compare its SHA-256",
            )
        contents.append(content)
    return ArchivedImage(
        tags=tuple(entry.get("RepoTags") or ()),
        image_id=f"sha256:{hashlib.sha256(config_bytes).hexdigest()}",
        config=config,
        layers=tuple(
            Layer(content.diff_id, content.size, step)
            for content, step in zip(contents, layer_steps(config), strict=True)
        ),
        files=_merged(contents),
    )


def layer_steps(config: dict[str, Any]) -> list[str]:
    """What made each layer, by a configuration's history; empty strings where that says nothing."""
    steps = [str(row.get("created_by", "")) for row in config.get("history", ()) if not row.get("empty_layer")]
    count = len(config["rootfs"]["diff_ids"])
    return (steps + [""] * count)[:count]


def _members(
    outer: tarfile.TarFile, wanted: Callable[[str], bool]
) -> tuple[dict[str, bytes], dict[str, _Content], dict[str, str]]:
    small: dict[str, bytes] = {}
    layers: dict[str, _Content] = {}
    links: dict[str, str] = {}
    for member in outer:
        if member.issym():
            links[member.name] = _resolved(member.name, member.linkname)
        file = outer.extractfile(member) if member.isfile() else None
        if file is None:
            continue
        if member.size <= _SMALL_BYTES:
            if len(small) == _MOST_SMALL:
                raise tarfile.ReadError("too many files for an image archive")
            small[member.name] = file.read()
        else:
            layers[member.name] = _content(file, wanted)
    return small, layers, links


def _resolved(name: str, target: str) -> str:
    """Where a symbolic link inside an archive points to."""
    parts = name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class _Hashed:
    """A file that is read forwards, and hashed as it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def _content(file: IO[bytes], wanted: Callable[[str], bool]) -> _Content:
    """A layer's tar, compressed or not, read to its end."""
    buffered = io.BufferedReader(cast(io.RawIOBase, file)) if not hasattr(file, "peek") else file
    plain = gzip.GzipFile(fileobj=buffered) if _head(buffered) == _GZIP else buffered
    hashed = _Hashed(cast(IO[bytes], plain))
    content = _Content("")
    with tarfile.open(fileobj=cast(IO[bytes], hashed), mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            folder, _, last = name.rpartition("/")
            if last == ".wh..wh..opq":
                content.gone.append(folder)
            elif last.startswith(".wh."):
                content.gone.append(f"{folder}/{last.removeprefix('.wh.')}".lstrip("/"))
            elif member.isfile():
                content.size += member.size
                if member.size <= _MOST_FILE_BYTES and wanted(name):
                    kept = tar.extractfile(member)
                    content.files[name] = kept.read() if kept else b""
    while hashed.read(_PIECE_BYTES):
        pass
    content.diff_id = f"sha256:{hashed.digest.hexdigest()}"
    return content


def _head(file: Any) -> bytes:
    return bytes(file.peek(2)[:2])


def _merged(contents: list[_Content]) -> dict[str, bytes]:
    """The files as a container sees them: upper layers replace and remove those of lower ones."""
    files: dict[str, bytes] = {}
    for content in contents:
        for gone in content.gone:
            files = {name: data for name, data in files.items() if name != gone and not name.startswith(gone + "/")}
        files |= content.files
    return files
