"""Real bundles: of the image that was built here, and of later releases of the same appliance."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance import __version__
from appliance.container.build import Names
from appliance.delivery.keys import generate
from tests.conftest import ROOT
from tests.container.builds import build, change_the_code


@dataclass(frozen=True)
class Release:
    """``folder``: where it was made, as in a checkout; ``archive``: its image; ``bundle``, ``delta``: what travels."""

    folder: Path
    bundle: Path
    archive: Path
    delta: Path | None = None

    @property
    def key(self) -> Path:
        """The public key that it is signed with."""
        return self.folder / "key.pub"

    @property
    def file(self) -> Path:
        """The bundle as one file."""
        return self.bundle.with_name(f"{self.bundle.name}.tar")


def first(folder: Path, *words: str) -> Release:
    """The bundle of what was built here, signed with a key that is made for it."""
    generate(folder / "key")
    return _bundle(folder, ROOT / "build/images" / f"{Names('cpu', ('base',)).file}.tar", *words)


def later(folder: Path, before: Release, version: str, change: tuple[str, str, str] | None = None) -> Release:
    """A release of another version and changed code, with the delta that leads to it.

    ``change``: a file of the code, what stands there, and what is to stand there.
    """
    change_the_code(folder)
    renamed = ("__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{version}"')
    for file, old, new in (renamed, change) if change else (renamed,):
        path = folder / "appliance" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
    build(folder, "docker")
    [archive] = (folder / "build/images").glob("*.tar")
    for name in ("key", "key.pub"):
        shutil.copy(before.folder / name, folder)
    return _bundle(folder, archive, "--since", str(before.bundle / "CONTENTS"))


def _bundle(folder: Path, archive: Path, *words: str) -> Release:
    for name in ("appliance", "build", "deploy", "docs", "images", "LICENSE", "models", "scripts", "systemd"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "bundle", "create", "--key", folder / "key", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [bundle] = (folder / "dist").glob("*.bundle")
    delta = next((folder / "dist").glob("*.delta"), None)
    return Release(folder, bundle, archive, delta)
