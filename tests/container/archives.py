"""Image archives made by hand, as engines write them."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Entry = bytes | tarfile.TarInfo


def layer(files: Mapping[str, Entry], *, time_s: float = 1.7e9, owner: str = "builder", reverse: bool = False) -> bytes:
    """A layer's tar; an entry that is no content is a member such as a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files, reverse=reverse):
            entry = files[name]
            member = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(name)
            content = b"" if isinstance(entry, tarfile.TarInfo) else entry
            member.size, member.mtime, member.uname = len(content), time_s, owner
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, target
    return member


def archive(
    path: Path, layers: Sequence[bytes], *, created: str = "2026-01-01T00:00:00Z", extra: Mapping[str, Any] = {}
) -> Path:
    """As `docker save` writes it, compressed where the name ends in ``.gz``."""
    diff_ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {"Cmd": ["serve"], "Labels": {"a": "b"}, "Hostname": created, **extra},
        "history": [{"created": created, "created_by": f"step {index}"} for index in range(len(layers))]
        + [{"created": created, "created_by": "LABEL a=b", "empty_layer": True}],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    names = [f"{index}/layer.tar" for index in range(len(layers))]
    members = {
        "config.json": json.dumps(config).encode(),
        **dict(zip(names, layers, strict=True)),
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": ["some:tag"], "Layers": names}]).encode(),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(out.getvalue()) if path.suffix == ".gz" else out.getvalue())
    return path
