"""Packs all that an image is built from into one folder, so that the build can be repeated without internet.

At the site an engine and bash are enough: ``build.sh`` of the kit checks every file, builds with networking off, and
lets the image make its own archive reproducible, so that the same image comes out as here.
"""

import shlex
import shutil
from pathlib import Path

from appliance.container.build import Names, build_arguments, image_times
from appliance.container.context import Context
from appliance.container.engine import Engine, LocalImage
from appliance.digest import sha256_file
from appliance.errors import ApplianceError

SUMS_FILE = "SHA256SUMS"
_SCRIPT = Path("scripts/build_kit.sh")


def make_kit(engine: Engine, names: Names, base: LocalImage, context: Context, dist: Path) -> Path:
    """Make the folder ``dist/NAME.kit``; an earlier one is replaced once the new one is whole.

    Raises:
        ApplianceError: the disk is full, or the base can't be saved.
    """
    folder = dist / f"{names.file}.kit"
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        shutil.copytree(context.folder, partial / "context")
        engine.save(base.name, partial / "base.tar")
        shutil.copy2(_SCRIPT, partial / "build.sh")
        (partial / "build.env").write_text(_settings(names, base, context), encoding="utf-8")
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        sums = "".join(f"{sha256_file(path)}  {path.relative_to(partial)}\n" for path in files)
        (partial / SUMS_FILE).write_text(sums, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ApplianceError(f"can't write {folder}: {error.strerror}", "is there room on the disk? df -h") from error
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def _settings(names: Names, base: LocalImage, context: Context) -> str:
    """What `build.sh` reads: plain assignments."""
    times = image_times()
    rows = {
        "NAME": names.full,
        "SHORT_NAME": names.short,
        "BASE": base.name,
        "BASE_LAYERS": str(len(base.layers)),
        "FILE_TIME": str(times.files_s),
        "CREATED": str(times.created_s),
    }
    given = build_arguments(names, base, context, times)
    rows |= {f"ARG_{key}": value for key, value in given.items()}
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in rows.items())
