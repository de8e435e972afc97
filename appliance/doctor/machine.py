"""The machine: disk, memory, clock, engine."""

import datetime
import shutil
from pathlib import Path

import appliance
from appliance.doctor.finding import Finding

_MB = 10**6
_FULL_BYTES = 10 * _MB
_NARROW_BYTES = 100 * _MB
_SCARCE_BYTES = 500 * _MB
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_PACKAGE = Path(appliance.__file__)


def check_disk(state_dir: Path) -> Finding:
    """Room for what the server keeps."""
    folder = next(path for path in (state_dir, *state_dir.absolute().parents) if path.exists())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", "error", f"how much room there is in {folder} can't be told: {error.strerror}")
    remedy = f"df -h {folder}; du -xh {folder} | sort -h | tail"
    if free < _FULL_BYTES:
        return Finding("disk", "error", f"{free // _MB} MB free in {folder}, which is full", remedy)
    if free < _NARROW_BYTES:
        return Finding("disk", "warning", f"only {free // _MB} MB free in {folder}", remedy)
    return Finding("disk", "ok", f"{free // _MB} MB free in {folder}")


def check_memory(cgroup: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """What there is, and whether it was too little before."""
    killed = _number(_words(cgroup / "memory.events").get("oom_kill", ""))
    limit = _number(_read(cgroup / "memory.max"))
    available = _number(_words(meminfo).get("MemAvailable:", "")) * 1024
    if killed:
        return Finding(
            "memory",
            "error",
            f"{killed} times a process was killed here for too little memory"
            + (f": it may have {limit // _MB} MB" if limit else ""),
            "a larger WLK_MEMORY in /etc/wlk/wlk.env, then: systemctl restart wlk",
        )
    if not available:
        return Finding("memory", "note", f"how much memory is left can't be told: nothing in {meminfo}")
    said = f"{available // _MB} MB are left on this machine" + (f", at most {limit // _MB} MB for it" if limit else "")
    if available < _SCARCE_BYTES:
        return Finding("memory", "warning", said, "end what else takes memory: ps aux --sort -rss | head")
    return Finding("memory", "ok", said)


def check_clock(now: datetime.datetime | None = None) -> Finding:
    """A clock that is late: files of this program are not from the future."""
    now = now or datetime.datetime.now(datetime.UTC)
    made = datetime.datetime.fromtimestamp(_PACKAGE.stat().st_mtime, datetime.UTC)
    if now < made - datetime.timedelta(days=1):
        return Finding(
            "clock",
            "error",
            f"it is {now:%Y-%m-%d} here, and this program was made on {made:%Y-%m-%d}",
            "on the host: timedatectl set-time 'YYYY-MM-DD HH:MM:SS'",
        )
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def check_engine() -> list[Finding]:
    """Whether images can be built or run here; in a container that is nobody's concern."""
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        return []
    found = [name for name in ("docker", "podman", "buildah") if shutil.which(name)]
    if found:
        return [Finding("engine", "ok", f"installed: {', '.join(found)}")]
    return [Finding("engine", "note", "no container engine: needed for images only", "apt-get install docker.io")]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _words(file: Path) -> dict[str, str]:
    """First and second word of each line."""
    rows = (line.split() for line in _read(file).splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1}


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0
