"""What is installed on a box: Debian with systemd and an engine, made once by the code that makes the base image."""

import fcntl
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.container.base import make_root
from appliance.container.target import host_architecture
from tests.conftest import ROOT

CACHE = ROOT / "build" / "boot"

# No Python, and nothing to download with: a site needs neither.
_PACKAGES = (
    "dbus",
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
_RECIPE = "2"
"""Count up when what `ensure_rootfs` does changes."""
# A box has neither the control groups that systemd would give a container, nor the right to raise a limit.
_PODMAN_ON_A_BOX = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
env = ["PODMAN_IGNORE_CGROUPSV1_WARNING=1"]
"""


@dataclass(frozen=True)
class Kind:
    """A box with Debian ``suite``, ``engine`` from its packages, and what that needs beside it."""

    engine: str
    suite: str
    packages: tuple[str, ...]

    def name(self, architecture: str) -> str:
        """Of the folder that its root file system is kept in."""
        words = [_RECIPE, architecture, self.suite, _HOSTS, *self.packages, *_PACKAGES, *_MASKED, _PODMAN_ON_A_BOX]
        digest = hashlib.sha256(" ".join(words).encode()).hexdigest()
        return f"root-{self.suite}-{self.engine}-{digest[:8]}"


DOCKER = Kind("docker", "bookworm", ("docker.io",))
PODMAN = Kind("podman", "trixie", ("ca-certificates", "nftables", "podman"))


def ensure_rootfs(kind: Kind = DOCKER) -> Path:
    """The root file system of boxes of a kind, which none of them changes; some two minutes where it isn't there yet.

    Raises:
        ApplianceError: not root, no Debian host, or its mirror does not give what is needed.
    """
    architecture = host_architecture()
    made = CACHE / kind.name(architecture)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_dir():
            return made
        kept = {other.name(architecture) for other in (DOCKER, PODMAN)}
        for old in CACHE.glob("root-*"):
            if old.name not in kept:
                shutil.rmtree(old)
        partial = CACHE / "root-partial"
        make_root(partial, architecture, (*_PACKAGES, *kind.packages), kind.suite)
        (partial / "etc/hostname").write_text("box\n", encoding="utf-8")
        (partial / "etc/hosts").write_text(_HOSTS, encoding="utf-8")
        (partial / "var/log/journal").mkdir(parents=True)  # so the journal outlives a boot, as on every Debian
        if kind.engine == "podman":
            settings = partial / "etc/containers/containers.conf.d/box.conf"
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text(_PODMAN_ON_A_BOX, encoding="utf-8")
        for unit in _MASKED:
            (partial / "etc/systemd/system" / unit).symlink_to("/dev/null")
        return partial.rename(made)
