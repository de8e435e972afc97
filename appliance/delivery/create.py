"""Makes a bundle: all that a site needs in one folder, under a signed list, and the same as one file."""

import logging
import shutil
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import __version__
from appliance.container.accounts import is_account
from appliance.container.archive import read_archive
from appliance.container.build import Names, require_archive
from appliance.container.save import write_accounts
from appliance.delivery.compression import Compression, compress
from appliance.delivery.contents import LIST_FILE, PLAIN_ARCHIVE, Contents, LayerPlace, entries
from appliance.delivery.keys import KEY_FILE, public_pem, write_signed
from appliance.delivery.single import SUFFIX, write_single
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.pair.locate import find_pair

log = logging.getLogger(__name__)

ALONG = (
    "scripts/install.sh",
    "scripts/uninstall.sh",
    "scripts/service.sh",
    "scripts/site.sh",
    "scripts/verify.sh",
    "scripts/signed.sh",
    "scripts/errors.sh",
    "scripts/apply.sh",
    "scripts/run_wlk.sh",
    "scripts/wlk_cert.sh",
    "scripts/doctor.sh",
    "scripts/harden-check.sh",
    "systemd/wlk.env",
    "LICENSE",
    "appliance/server/openapi.json",
)
"""Files of the repository that a release brings beside its image."""
_FOLDERS = {
    "systemd": ("systemd/*.service", "systemd/*.timer", "systemd/*.conf"),
    "systemd/quadlet": ("systemd/quadlet/*.container",),
    "doctor": ("scripts/doctor/*.sh",),
    "harden": ("scripts/harden/*.sh",),
    "install": ("scripts/install/*.sh",),
    "docs": ("docs/*.md", "docs/*.html"),
    "deploy/compose": ("deploy/compose/*.yaml", "deploy/compose/example.env"),
    "deploy/grafana": ("deploy/grafana/*.json",),
    "deploy/haproxy": ("deploy/haproxy/*.cfg",),
    "deploy/kubernetes/base": ("deploy/kubernetes/base/*.yaml",),
    "deploy/kubernetes/components/tokens": ("deploy/kubernetes/components/tokens/*.yaml",),
    "deploy/kubernetes/overlays/gpu": ("deploy/kubernetes/overlays/gpu/*.yaml",),
    "deploy/nginx": ("deploy/nginx/*.conf",),
    "deploy/prometheus": ("deploy/prometheus/*.yml",),
}
"""By their names, for a site's own settings and keys may lie beside them."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's folder, the one file that holds the same, and what both hold."""

    folder: Path
    file: Path
    contents: Contents


def create_bundle(
    names: Names,
    archives: Path,
    dist: Path,
    key: Ed25519PrivateKey,
    *,
    pairs_dir: Path,
    extra_models: Sequence[str] = (),
    compression: Compression = "zstd",
) -> Bundle:
    """Make the bundle of an image that was built here; an earlier one is replaced once the new one is whole.

    Args:
        archives: where `appliance.container.build` keeps what it built.
        extra_models: pairs to carry beside the image, baked in ``pairs_dir``.

    Raises:
        ApplianceError: the image or a pair isn't there, or the disk is full.
    """
    plain = require_archive(names, archives)
    folder = dist / f"{names.bundle}.bundle"
    file = folder.with_name(folder.name + SUFFIX)
    partial, unfinished = (path.with_name(f".{path.name}.partial") for path in (folder, file))
    shutil.rmtree(partial, ignore_errors=True)
    started = time.monotonic()
    try:
        partial.mkdir(parents=True)
        contents = _fill(partial, names, plain, key, pairs_dir, extra_models, compression)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        write_single(folder, contents, unfinished)
        unfinished.rename(file)
    except OSError as error:
        raise ApplianceError(
            f"can't write {error.filename or folder}: {error.strerror}", "is there room on the disk? df -h"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        unfinished.unlink(missing_ok=True)
    log.info("bundle: made in %.0f s", time.monotonic() - started)
    return Bundle(folder, file, contents)


def _fill(
    folder: Path,
    names: Names,
    plain: Path,
    key: Ed25519PrivateKey,
    pairs_dir: Path,
    extra_models: Sequence[str],
    compression: Compression,
) -> Contents:
    image = read_archive(plain, is_account)
    write_accounts(folder / "accounts", image.files)
    for model in extra_models:
        find_pair(pairs_dir, model)
        shutil.copytree(pairs_dir / model, folder / "models" / model)
    for name in ALONG:
        shutil.copy2(name, folder / Path(name).name)
    for name, patterns in _FOLDERS.items():
        (folder / name).mkdir(parents=True)
        for file in (file for pattern in patterns for file in Path().glob(pattern)):
            shutil.copy2(file, folder / name / file.name)
    (folder / KEY_FILE).write_bytes(public_pem(key.public_key()))
    archive = compress(plain, folder / PLAIN_ARCHIVE, compression).name
    contents = Contents(
        version=__version__,
        target=names.target,
        models=names.models,
        architecture=str(image.config["architecture"]),
        image_id=image.image_id,
        made=str(image.config["created"]),
        tags=image.tags,
        archive=archive,
        tar_sha256=sha256_file(plain),
        tar_size=plain.stat().st_size,
        layers=layer_places(plain),
        files=entries(folder),
    )
    write_signed(folder / LIST_FILE, contents.text(), key)
    return contents


def layer_places(plain: Path) -> tuple[LayerPlace, ...]:
    """Where the layers lie in an archive as `appliance.container.reproducible` writes it."""
    with tarfile.open(plain, "r:") as archive:
        return tuple(
            LayerPlace(member.name.partition("/")[0], member.offset_data, member.size)
            for member in archive
            if member.name.endswith("/layer.tar")
        )
