"""Images built in a folder of a test's own, by the command that users type."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.container.build import Names
from appliance.container.engine import Engine
from appliance.container.engine_setup import ENGINE_VARIABLE
from tests.conftest import ROOT

NAMES = Names("cpu", ("base",))


def build(folder: Path, kind: str, *words: str, action: str = "build", **environment: str) -> Path:
    """Build in a folder of its own, with what was fetched here; returns the image's archive."""
    (folder / "build").mkdir(parents=True, exist_ok=True)
    for name in ("pairs", "store", "wheelhouse", "base"):
        if not (folder / "build" / name).exists():
            (folder / "build" / name).symlink_to(ROOT / "build" / name)
    if not (folder / "images").exists():
        (folder / "images").symlink_to(ROOT / "images")
        (folder / "models").symlink_to(ROOT / "models")
        (folder / "scripts").symlink_to(ROOT / "scripts")
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "image", action, "--offline", *words],
        cwd=folder,
        env={**os.environ, ENGINE_VARIABLE: kind, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "build/images" / f"{NAMES.file}.tar"


def change_the_code(folder: Path) -> None:
    """Give a folder to build in the code of the appliance, with a line more."""
    shutil.copytree(ROOT / "appliance", folder / "appliance", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "appliance/log.py").open("a", encoding="utf-8") as code:
        code.write("# one more line\n")


@contextlib.contextmanager
def names_kept(engine: Engine) -> Iterator[None]:
    """The image that was built here has its names again afterwards: a build of another one takes them."""
    before = engine.describe(NAMES.full)
    try:
        yield
    finally:
        if before is None or engine.describe(before.image_id) is None:
            engine.load(ROOT / "build/images" / f"{NAMES.file}.tar")
        else:
            for name in (NAMES.full, NAMES.short):
                engine.tag(before.image_id, name)
