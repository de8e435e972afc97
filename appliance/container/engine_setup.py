"""Finds the container engine that works on this host, starts its daemon or installs it where that is possible."""

import logging
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.container.engine import KINDS, Engine, Kind
from appliance.errors import ApplianceError
from appliance.packages import install_packages
from appliance.run import run

log = logging.getLogger(__name__)

ENGINE_VARIABLE = "WLK_ENGINE"
"""Names the one engine to use, a program or its path, and turns the search off; `auto` does not."""

_PROBE_TIMEOUT_S = 15.0
_DAEMON_START_S = 60.0
_DAEMON_POLL_S = 0.5
_FIRST_CLIENT_WITHOUT_BUILTIN_BUILDKIT = 23
_OLDEST = {"docker": 20, "podman": 4, "buildah": 1}
_SYSTEM_DOCKER = Path("/usr/bin/docker")
_DAEMON_PACKAGE = "docker.io"
_DAEMON_SOCKET = "/var/run/docker.sock"
_PID_FILES = (
    (Path("/var/run/docker.pid"), "dockerd"),
    (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
)


def ensure_engine(log_dir: Path) -> Engine:
    """The engine that works; starts a stopped Docker daemon, or installs Docker, where root may do so.

    An installed Docker that can be started goes before another engine that works: which one builds doesn't depend on
    whether its daemon happens to run.

    Args:
        log_dir: where the log of a daemon started here goes (``dockerd.log``).

    Raises:
        ApplianceError: none works and none could be made to; the hint is what to type.
    """
    found, problems = find_engine()
    chosen = _chosen()
    stopped = _stopped_daemon()
    if stopped and chosen in (None, "docker") and (found is None or found.kind != "docker"):
        try:
            _start_daemon(stopped, log_dir)
        except ApplianceError as error:
            if found is None or chosen:
                raise
            log.warning("%s; %s is used", error.message, found.kind)
            return found
        found, problems = find_engine()
    if found is not None:
        return found
    if chosen:
        raise ApplianceError(
            f"the engine {chosen} does not work: {'; '.join(problems) or 'not found'}",
            f"install or start it, or let the engine be chosen: ENGINE=auto ({ENGINE_VARIABLE}=auto)",
        )
    if os.geteuid() != 0:
        raise _needs_root(problems)
    if _daemon_program() is None:
        _install(problems)
        stopped = _stopped_daemon()  # its package starts the daemon where systemd runs
        if stopped:
            _start_daemon(stopped, log_dir)
        found, problems = find_engine()
    if found is None:
        raise ApplianceError(
            f"Docker was started and still does not work: {'; '.join(problems)}",
            f"read {log_dir / 'dockerd.log'}, or `journalctl -u docker` where systemd runs",
        )
    return found


def find_engine() -> tuple[Engine | None, list[str]]:
    """The first engine that works, and why each one before it doesn't."""
    problems: list[str] = []
    for kind, program in _candidates():
        try:
            found = _try_docker(program) if kind == "docker" else _try_daemonless(kind, program)
        except ApplianceError as error:  # it hangs
            found = error.message
        if isinstance(found, Engine):
            log.info("container engine: %s %s (%s)", found.kind, found.version, found.program)
            return found, problems
        problems.append(found)
        log.debug("not usable: %s", found)
    return None, problems


def _chosen() -> str | None:
    given = os.environ.get(ENGINE_VARIABLE)
    return None if given in (None, "", "auto") else given


def _candidates() -> Iterator[tuple[Kind, Path]]:
    chosen = _chosen()
    if chosen and chosen != "docker":
        named = shutil.which(chosen)
        if named is not None:
            yield next((kind for kind in KINDS if kind in Path(named).name), "docker"), Path(named)
        return
    folders = [Path(part) for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    dockers = [folder / "docker" for folder in folders] + [_SYSTEM_DOCKER]
    seen: set[Path] = set()
    for program in dockers:
        if os.access(program, os.X_OK) and program.is_file() and program.resolve() not in seen:
            seen.add(program.resolve())
            yield "docker", program
    for other in KINDS[1:]:
        found = shutil.which(other)
        if found is not None and not chosen:
            yield other, Path(found)


def _try_docker(program: Path) -> Engine | str:
    done = run(
        [program, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"],
        check=False,
        capture=True,
        timeout_s=_PROBE_TIMEOUT_S,
    )
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 2:
        return f"{program}: {_last_line(done.stderr) or 'its daemon does not answer'}"
    client, server = words
    if _major(server) < _OLDEST["docker"]:
        return f"{program}: version {server} is too old, {_OLDEST['docker']} or newer is needed"
    if _major(client) >= _FIRST_CLIENT_WITHOUT_BUILTIN_BUILDKIT:
        # From this version on, the client hands BuildKit builds to a plugin, which some hosts lack.
        plugin = run([program, "buildx", "version"], check=False, capture=True, timeout_s=_PROBE_TIMEOUT_S)
        if plugin.returncode != 0:
            return f"{program}: client {client} has no buildx plugin, so it can't build"
    return Engine("docker", program, server)


def _try_daemonless(kind: Kind, program: Path) -> Engine | str:
    """Podman and buildah: whether they answer, and with which runtime."""
    done = run([program, "--version"], check=False, capture=True, timeout_s=_PROBE_TIMEOUT_S)
    version = next((word for word in done.stdout.split() if word[0].isdigit()), "")
    if done.returncode != 0 or not version:
        return f"{program}: {_last_line(done.stderr) or 'does not answer'}"
    if _major(version) < _OLDEST[kind]:
        return f"{program}: version {version} is too old, {_OLDEST[kind]} or newer is needed"
    asked = run([program, "info"], check=False, capture=True, timeout_s=_PROBE_TIMEOUT_S)
    if asked.returncode != 0:
        return f"{program}: {_last_line(asked.stderr) or 'does not answer'}"
    options: tuple[str, ...] = ()
    if kind == "podman":
        # Its own choices are crun, which can't start a container everywhere, and cgroups by systemd.
        options += ("--runtime", "runc") if shutil.which("runc") else ()
        options += () if _systemd_runs() else ("--cgroup-manager", "cgroupfs")
    return Engine(kind, program, version, options)


def _major(version: str) -> int:
    first = version.split(".")[0]
    return int(first) if first.isdecimal() else 0


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _daemon_program() -> Path | None:
    found = shutil.which("dockerd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    return None if found is None else Path(found)


def _stopped_daemon() -> Path | None:
    """Docker's daemon, where it is installed, nothing listens for its clients, and we may start it."""
    if os.geteuid() != 0:
        return None
    with socket.socket(socket.AF_UNIX) as client:
        return _daemon_program() if client.connect_ex(_DAEMON_SOCKET) else None


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir()


def forget_stale_pid(pid_file: Path, name: str) -> bool:
    """Remove a process-id file that outlived its daemon, where another process has that number by now.

    Docker only asks whether *a* process with the number lives, and then refuses to start.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        running = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return False
    if running == name:
        return False
    log.info("%s names process %d, which is %s: removing it", pid_file, pid, running)
    pid_file.unlink(missing_ok=True)
    return True


def _start_daemon(program: Path, log_dir: Path) -> None:
    if _systemd_runs():
        log.warning("the Docker daemon is not running: starting it (systemctl start docker)")
        run(["systemctl", "start", "docker"], hint="journalctl -u docker says why")
    else:
        log_dir.mkdir(parents=True, exist_ok=True)
        log_file = (log_dir / "dockerd.log").resolve()
        log.warning("the Docker daemon is not running: starting %s, log in %s", program, log_file)
        for pid_file, name in _PID_FILES:
            forget_stale_pid(pid_file, name)
        run(
            ["start-stop-daemon", "--start", "--background", "--output", log_file, "--exec", program],
            hint=f"start the daemon by hand: {program} >{log_file} 2>&1 &",
        )
    give_up = time.monotonic() + _DAEMON_START_S
    while time.monotonic() < give_up:
        if any(isinstance(_try_docker(path), Engine) for kind, path in _candidates() if kind == "docker"):
            return
        time.sleep(_DAEMON_POLL_S)


def _install(problems: list[str]) -> None:
    if not Path("/etc/debian_version").is_file() or shutil.which("apt-get") is None:
        raise ApplianceError(
            f"no container engine works on this host ({platform.system()}){_because(problems)}",
            "install Docker 20.10 or newer, start its daemon, and run this again",
        )
    log.warning(
        "no container engine found%s: installing %s from Debian's packages", _because(problems), _DAEMON_PACKAGE
    )
    install_packages([_DAEMON_PACKAGE], "to build and run container images")


def _needs_root(problems: list[str]) -> ApplianceError:
    if any("permission denied" in problem for problem in problems):
        hint = "run it with sudo, or: sudo usermod -aG docker $USER, then log in again"
    elif _daemon_program() is not None:
        hint = "sudo systemctl start docker"
    else:
        hint = f"sudo apt-get install --yes {_DAEMON_PACKAGE}, then sudo usermod -aG docker $USER and log in again"
    return ApplianceError(f"no container engine works on this host{_because(problems)}", hint)


def _because(problems: list[str]) -> str:
    return f" ({'; '.join(problems)})" if problems else ""
