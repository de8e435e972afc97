"""Programs for tests: scripts that answer like what isn't here, or must not be used."""

from pathlib import Path


def put(folder: Path, name: str, body: str) -> Path:
    """Make a shell script that can be run; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
