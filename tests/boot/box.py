"""A box as it stands at a site: its own systemd and Docker, without a network, to be rebooted and cut off its power.

It is no container of an engine but a machine of its own, as far as one kernel allows: runc starts its `/sbin/init` in
namespaces of its own, over a root file system that lasts from boot to boot. Its engine is a service of its systemd,
with a storage of its own. What is not as on a real one: the kernel is this host's, so a power cut loses no write that a
program had handed to the kernel.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import IO, Any, Self

from appliance.errors import ApplianceError
from appliance.run import output, run
from tests.boot.rootfs import CACHE

BOXES = CACHE / "boxes"
STICK = "/media/stick"

_PROGRAMS = ("runc", "unshare", "nsenter", "tar")
_STORES = {"docker": "/var/lib/docker", "podman": "/var/lib/containers"}
_NAME = "box"
_BOOT_S = 300.0
_SHUTDOWN_S = 120.0
_POLL_S = 0.05
_UP = ("running", "degraded")

# All that root has, but for what would reach the host: its modules, clock and raw I/O, and limits above the host's own.
_CAPABILITIES = """
AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MKNOD
NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_NICE
SYS_PACCT SYS_PTRACE SYS_TTY_CONFIG
"""
_HOSTS_SETTINGS = [f"/proc/sys/{part}" for part in ("debug", "dev", "fs", "kernel", "vm")]
_READ_ONLY = ["/proc/bus", "/proc/irq", "/proc/sysrq-trigger", *_HOSTS_SETTINGS]
# No device but null, zero and the like, terminals, and what engines allow their containers: the console, and Podman's
# runtime the ends of tunnels, which are of the box's own network.
_DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
    {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
]
# Each boot has a number of its own, by which the journal tells them apart; the kernel tells all boxes the host's.
_INIT = (
    "cat /proc/sys/kernel/random/uuid >/run/boot_id && "
    "mount --bind /run/boot_id /proc/sys/kernel/random/boot_id && exec /sbin/init"
)
# The mount is seen by the box alone, and gone with it.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_START = (
    'mount -t overlay box -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" && '
    'exec runc --root "$2/runc" run --detach --bundle "$2" --pid-file "$2/pid" "$3"'
)


def lacking() -> str | None:
    """What this host lacks to run a box, None when nothing."""
    if os.geteuid() != 0:
        return "root, to boot a box"
    programs = [name for name in _PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(programs)}, to boot a box: scripts/test_packages.sh" if programs else None


class Box:
    """A box, switched off at first; within ``with`` it exists, and after that nothing of it is left.

    ``folder``: what lies on its disk, and what is known about it here.
    """

    def __init__(self, rootfs: Path, stick: Path | None = None, engine: str = "docker") -> None:
        """Args:
        rootfs: what is installed on it.
        stick: a folder of this host's that it can read at `STICK`, without a copy.
        engine: ``docker`` or ``podman``, whichever is installed on it.
        """
        self._rootfs = rootfs
        self._engine = engine
        self._stick = stick
        self._lock: IO[str] | None = None
        self._init: int | None = None
        self.folder = Path()

    def __enter__(self) -> Self:
        with _boxes_locked():
            _remove_leftovers()
            self.folder = Path(tempfile.mkdtemp(prefix="wlk-box-", dir=BOXES))
            self._lock = (self.folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        for name in ("layers", "root", "runc", "upper", "work"):
            (self.folder / name).mkdir()
        (self.folder / "root").chmod(0o755)
        (self.folder / "upper").chmod(0o755)  # the root folder of the box
        (self.folder / "config.json").write_text(
            json.dumps(_config(self.folder, self._stick, _STORES[self._engine])), encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_init()
        with _boxes_locked():
            _remove(self.folder)
        if self._lock is not None:
            self._lock.close()

    # ── power ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_on(self) -> bool:
        """Whether its first process lives."""
        return self._init is not None and not _is_over(self._init, 0)

    def boot(self) -> str:
        """Switch it on and wait until its systemd has started all that it starts.

        Returns:
            What `systemctl is-system-running` says: ``running``, or ``degraded`` where a unit failed.

        Raises:
            ApplianceError: it did not come up; the message has what its first process printed.
        """
        if self.is_on:
            raise ApplianceError("the box is on already", "reboot() or cut_power() it")
        self._tidy()
        with (self.folder / "console").open("wb") as console:
            done = subprocess.run(
                [*_OWN_MOUNTS, "sh", "-c", _START, "sh", str(self._rootfs), str(self.folder), _NAME],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                check=False,
            )
        if done.returncode != 0:
            raise self._did_not_boot("runc failed")
        self._init = os.pidfd_open(int((self.folder / "pid").read_text(encoding="ascii")))
        give_up = time.monotonic() + _BOOT_S
        state = "unknown"
        while self.is_on and (left := give_up - time.monotonic()) > 0:
            words = ["timeout", str(left), "systemctl", "is-system-running", "--wait"]
            state = self.run(*words, check=False, timeout_s=_BOOT_S + 5).stdout.strip()
            if state in _UP:
                return state
            time.sleep(_POLL_S)
        raise self._did_not_boot(f"systemd is {state}" if self.is_on else "its first process ended")

    def shut_down(self) -> None:
        """Switch it off as its keeper does: systemd ends the units in their order.

        Raises:
            ApplianceError: it hung.
        """
        self._end_by("poweroff")

    def reboot(self) -> str:
        """Let systemd end everything and start again; as `boot`."""
        self._end_by("reboot")
        return self.boot()

    def cut_power(self) -> None:
        """End everything on it at once, with no word to anyone: the kernel kills all processes with the first one."""
        if self._init is None or not self.is_on:
            raise ApplianceError("the box is off already", "boot() it")
        signal.pidfd_send_signal(self._init, signal.SIGKILL)
        self._wait_off(_SHUTDOWN_S)

    # ── what runs there ────────────────────────────────────────────────────────────────────────────

    def run(
        self, *words: str | Path, check: bool = True, timeout_s: float = 300.0, input_text: str | None = None
    ) -> CompletedProcess[str]:
        """Run a command on the box, as root, and keep what it prints.

        Raises:
            ApplianceError: it failed while ``check`` is set, or took too long; then it may go on there.
        """
        given = "" if input_text is None else input_text
        return run([*self._exec(), *words], check=check, capture=True, input_text=given, timeout_s=timeout_s)

    def engine(self, *words: str | Path, timeout_s: float = 300.0) -> str:
        """What a command of its engine prints, stripped; raises as `run`."""
        return self.run(self._engine, *words, timeout_s=timeout_s).stdout.strip()

    def images(self) -> list[str]:
        """Names, or identifiers where there is none, of the images that its engine holds."""
        lines = self.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return sorted(name if "<none>" not in name else image_id for name, image_id in map(str.split, lines))

    def journal(self, unit: str, *words: str) -> str:
        """What the journal has of a unit since the box was booted; ``words``: more flags, such as ``--boot=-1``."""
        return self.run(
            "journalctl", "--no-pager", "--boot", "--output=short-monotonic", f"--unit={unit}", *words
        ).stdout

    def copy(self, path: Path, to: str) -> None:
        """Put a file or a folder from here into a folder of the box, which is made where it isn't there.

        Raises:
            ApplianceError: there is no room, or nothing to copy.
        """
        self.run("mkdir", "--parents", to)
        pack = ["tar", "--create", "--owner=0", "--group=0", "--directory", str(path.parent), path.name]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
            run([*self._exec(), "tar", "--extract", "--directory", to], capture=True, stdin=packing.stdout)
        if packing.returncode != 0:
            raise ApplianceError(f"{path} could not be read to its end", "is it there?")

    # ── beside it ──────────────────────────────────────────────────────────────────────────────────

    def command(self, *words: str | Path) -> list[str]:
        """The command that runs a program of this host in the network of the box, with this host's files."""
        return ["nsenter", f"--net=/proc/{self._pid()}/ns/net", "--", *map(str, words)]

    def client(self, *words: str | Path, check: bool = True, timeout_s: float = 300.0) -> CompletedProcess[str]:
        """Run a program of this host in the network of the box; raises as `run`."""
        return run(self.command(*words), check=check, capture=True, timeout_s=timeout_s)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────────

    def _exec(self) -> list[str]:
        if not self.is_on:
            raise ApplianceError("the box is off", "boot() it")
        return ["runc", "--root", str(self.folder / "runc"), "exec", _NAME]

    def _pid(self) -> int:
        if not self.is_on:
            raise ApplianceError("the box is off", "boot() it")
        return int((self.folder / "pid").read_text(encoding="ascii"))

    def _end_by(self, word: str) -> None:
        self.run("systemctl", "--no-block", word, check=False)
        self._wait_off(_SHUTDOWN_S)

    def _wait_off(self, limit_s: float) -> None:
        if self._init is not None and not _is_over(self._init, limit_s):
            raise ApplianceError(f"the box is still on after {limit_s:.0f} s", f"what it said: {self._said()}")
        self._tidy()

    def _tidy(self) -> None:
        """Take away what the kernel keeps of a box that is off."""
        self._forget_init()
        _delete(self.folder)

    def _forget_init(self) -> None:
        if self._init is not None:
            os.close(self._init)
            self._init = None

    def _said(self) -> str:
        return (self.folder / "console").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _did_not_boot(self, why: str) -> ApplianceError:
        failed = ""
        if self.is_on:
            failed = self.run("systemctl", "--no-pager", "list-jobs", check=False, timeout_s=10).stdout
        return ApplianceError(f"the box did not boot: {why}\n{self._said()}\n{failed}", "are there cgroups? mount")


@contextlib.contextmanager
def _boxes_locked() -> Iterator[None]:
    """No other test run makes or removes a box meanwhile."""
    BOXES.mkdir(parents=True, exist_ok=True)
    with (BOXES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_over(pidfd: int, limit_s: float) -> bool:
    """Whether a process, and as it is a box's first one every process of the box, has ended by then."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(limit_s * 1000))


def _delete(folder: Path) -> None:
    """End what runs there, and remove its control groups."""
    state = folder / "runc"
    if state.is_dir() and output(["runc", "--root", state, "list", "--quiet"]):
        run(["runc", "--root", state, "delete", "--force", _NAME], capture=True)


def _remove(folder: Path) -> None:
    _delete(folder)
    shutil.rmtree(folder)


def _remove_leftovers() -> None:
    """End and remove the boxes of test runs that were killed: nobody holds their locks."""
    for folder in BOXES.glob("wlk-box-*"):
        with (folder / "lock").open("a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)


def _config(folder: Path, stick: Path | None, store: str) -> dict[str, Any]:
    """The box for runc, after the runtime specification of the Open Container Initiative, config.md."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "container": "runc",  # systemd leaves alone what is the host's
    }
    granted = [f"CAP_{name}" for name in _CAPABILITIES.split()]
    return {
        "ociVersion": "1.0.2",
        "hostname": "box",
        "root": {"path": str(folder / "root")},
        "process": {
            "args": ["/bin/sh", "-c", _INIT],
            "cwd": "/",
            "env": [f"{key}={value}" for key, value in environment.items()],
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted),
        },
        "mounts": list(_mounts(folder, stick, store)),
        "linux": {
            "cgroupsPath": f"/{folder.name}",
            # A network of its own has nothing but a loopback interface.
            "namespaces": [{"type": kind} for kind in ("cgroup", "ipc", "mount", "network", "pid", "uts")],
            "resources": {"devices": _DEVICES},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": _READ_ONLY,
        },
    }


def _mounts(folder: Path, stick: Path | None, store: str) -> Iterator[dict[str, Any]]:
    for destination, kind, options in (
        ("/proc", "proc", ""),
        ("/dev", "tmpfs", "nosuid mode=755"),
        ("/dev/pts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        ("/dev/shm", "tmpfs", "nosuid nodev mode=1777"),
        ("/dev/mqueue", "mqueue", "nosuid noexec nodev"),
        ("/sys", "sysfs", "nosuid noexec nodev ro"),
        ("/sys/fs/cgroup", "cgroup", "nosuid noexec nodev relatime"),
        ("/run", "tmpfs", "nosuid mode=755"),
        ("/tmp", "tmpfs", "nosuid mode=1777"),
    ):
        yield {"destination": destination, "type": kind, "source": kind, "options": options.split()}
    # An overlay can't lie on another one: the engine's layers lie on the disk itself.
    images = str(folder / "layers")
    yield {"destination": store, "type": "bind", "source": images, "options": ["bind", "rw"]}
    if stick is not None:
        yield {"destination": STICK, "type": "bind", "source": str(stick.resolve()), "options": ["bind", "ro"]}
