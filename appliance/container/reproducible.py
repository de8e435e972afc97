"""Rewrites an image archive so that the same content is the same bytes, whenever and wherever it was built.

What differs between two builds of the same files is told to engines nowhere in the same way, so it is taken out
afterwards: times of files and of the image, the order and the owners' names in layers, host names in the
configuration. After https://reproducible-builds.org/docs/archives and the specification of ``SOURCE_DATE_EPOCH``.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from appliance.container.commit import EARLIEST_S
from appliance.errors import ApplianceError

_CONFIG_KEYS = (
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
)
_MOUNTED_OVER = ("etc/hostname", "etc/hosts", "etc/resolv.conf", "run")
"""What some engines leave, empty, in the layer of a step: each container gets its own."""

_BLOCK = tarfile.BLOCKSIZE


def rewrite(
    source: Path, target: Path, *, tags: Sequence[str], base_layers: int, file_time_s: int, created_s: int
) -> str:
    """Write the image of an uncompressed archive anew.

    Args:
        tags: the names that the new archive gives the image.
        base_layers: how many layers at the bottom are the base's; they stay as they are, byte by byte.
        file_time_s: files that are younger get this time (seconds since 1970).
        created_s: when the image says it was made.

    Returns:
        The identifier of the image, ``sha256:...``: the digest of its configuration.

    Raises:
        ApplianceError: the source is no image archive.
    """
    with tarfile.open(source, "r:") as outer, target.open("wb") as out:
        entry, config = _described(outer, source)
        digests = []
        for index, name in enumerate(entry["Layers"]):
            layer = outer.extractfile(name)
            if layer is None:
                raise ApplianceError(f"{source}: layer {name} is missing", "is the disk full?")
            digests.append(_add_layer(out, layer, None if index < base_layers else file_time_s))
        return _finish(out, config, digests, tags, created_s)


def pack_root(files: Path, target: Path, *, tag: str, architecture: str, settings: Mapping[str, Any]) -> str:
    """Make an image of one layer from a tar of a root file system; all its times become `EARLIEST_S`.

    Args:
        settings: of the image's configuration, such as ``Cmd`` and ``Env``.

    Returns:
        The identifier of the image.
    """
    with target.open("wb") as out, files.open("rb") as layer:
        digest = _add_layer(out, layer, EARLIEST_S)
        config: dict[str, Any] = {"architecture": architecture, "os": "linux", "config": dict(settings)}
        config["history"] = [{"created_by": f"files of {tag}"}]
        return _finish(out, config, [digest], [tag], EARLIEST_S)


def _finish(out: IO[bytes], config: dict[str, Any], digests: Sequence[str], tags: Sequence[str], created_s: int) -> str:
    """Append the configuration and the list of what is there; returns the image's identifier."""
    made = json.dumps(_config(config, digests, created_s), sort_keys=True, separators=(",", ":")).encode()
    image_id = hashlib.sha256(made).hexdigest()
    _add(out, f"{image_id}.json", made)
    layers = [f"{name}/layer.tar" for name in digests]
    manifest = [{"Config": f"{image_id}.json", "Layers": layers, "RepoTags": list(tags)}]
    _add(out, "manifest.json", json.dumps(manifest, separators=(",", ":")).encode())
    out.write(bytes(2 * _BLOCK))
    return f"sha256:{image_id}"


def _described(outer: tarfile.TarFile, source: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        entry = json.loads(_read(outer, "manifest.json"))[0]
        return entry, json.loads(_read(outer, entry["Config"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ApplianceError(f"{source} is no image archive", "the engine wrote it: is the disk full?") from error


def _read(outer: tarfile.TarFile, name: str) -> bytes:
    file = outer.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _config(config: dict[str, Any], digests: Sequence[str], created_s: int) -> dict[str, Any]:
    created = datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [
        {key: row[key] for key in ("created_by", "empty_layer") if row.get(key)} | {"created": created}
        for row in config.get("history", ())
    ]
    kept = {key: value for key, value in config.get("config", {}).items() if key in _CONFIG_KEYS and value}
    platform = {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}
    layers = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
    return {**platform, "config": kept, "created": created, "history": history, "rootfs": layers}


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _add(out: IO[bytes], name: str, data: bytes) -> None:
    out.write(_header(name, len(data)) + data + bytes(-len(data) % _BLOCK))


def _add_layer(out: IO[bytes], layer: IO[bytes], file_time_s: int | None) -> str:
    """Append a layer, as it is where no time is given; returns its digest, by which it is named."""
    start = out.tell()
    out.write(bytes(_BLOCK))
    written = _Hashed(out)
    if file_time_s is None:
        shutil.copyfileobj(layer, written)
    else:
        _write_layer(layer, written, file_time_s)
    out.write(bytes(-written.size % _BLOCK))
    end = out.tell()
    out.seek(start)
    out.write(_header(f"{written.digest.hexdigest()}/layer.tar", written.size))
    out.seek(end)
    return written.digest.hexdigest()


class _Hashed:
    """Passes on what is written, counted and hashed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def _write_layer(layer: IO[bytes], written: _Hashed, file_time_s: int) -> None:
    """Sorted by name, hard links after what they link to, times no later than given, owners by number."""
    with (
        tarfile.open(fileobj=layer, mode="r:") as old,
        tarfile.open(fileobj=cast(IO[bytes], written), mode="w|", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: (one.islnk(), one.name)):
            if member.size == 0 and member.name in _MOUNTED_OVER:
                continue
            member.mtime = min(int(member.mtime), file_time_s)
            member.uname = member.gname = ""
            # Capabilities and the like; what else stands there is times.
            member.pax_headers = {
                key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")
            }
            new.addfile(member, old.extractfile(member) if member.isreg() else io.BytesIO())
