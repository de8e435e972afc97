"""What is installed on a box: Debian with systemd and Docker, made once by the code that makes the base image."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from appliance.container.base import make_root
from appliance.container.target import host_architecture
from tests.conftest import ROOT

CACHE = ROOT / "build" / "boot"

# No Python, and nothing to download with: a site needs neither.
_PACKAGES = (
    "dbus",
    "docker.io",
    "hostname",
    "iproute2",
    "openssl",
    "procps",
    "systemd",
    "systemd-sysv",
    "zstd",
)
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
)
_HOSTS = "127.0.0.1 localhost\n127.0.1.1 box\n::1 localhost\n"
_RECIPE = "1"
"""Count up when what `ensure_rootfs` does changes."""


def ensure_rootfs() -> Path:
    """The root file system of every box, which none of them changes; about a minute where it isn't there yet.

    Raises:
        ApplianceError: not root, no Debian host, or its mirror does not give what is needed.
    """
    architecture = host_architecture()
    words = [_RECIPE, architecture, _HOSTS, *_PACKAGES, *_MASKED]
    made = CACHE / f"root-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_dir():
            return made
        for old in CACHE.glob("root-*"):
            shutil.rmtree(old)
        partial = CACHE / "root-partial"
        make_root(partial, architecture, _PACKAGES)
        (partial / "etc/hostname").write_text("box\n", encoding="utf-8")
        (partial / "etc/hosts").write_text(_HOSTS, encoding="utf-8")
        (partial / "var/log/journal").mkdir(parents=True)  # so the journal outlives a boot, as on every Debian
        for unit in _MASKED:
            (partial / "etc/systemd/system" / unit).symlink_to("/dev/null")
        return partial.rename(made)
