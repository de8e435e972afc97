"""The support bundle: findings, versions, settings and logs in one file that can be sent away."""

import datetime
import io
import os
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

from cryptography import x509

from appliance import __version__
from appliance.doctor.finding import Finding, as_json, as_text
from appliance.doctor.redaction import SECRET, is_secret, without_addresses, without_secrets
from appliance.errors import ApplianceError
from appliance.run import run
from appliance.server.authority import fingerprint
from appliance.server.certificate import load
from appliance.server.models import locate
from appliance.server.renewal import alternatives
from appliance.server.settings import Settings
from appliance.server.tls import files_in
from appliance.server.tokens import LEAST_CHARS, read_tokens

MOST_LINES = 2000
MOST_BYTES = 2_000_000
_FOLDER = "wlk-support"
_JOURNAL_LIMIT_S = 20.0
_UNITS = ("wlk-load.service", "wlk-cert.service", "wlk.service", "wlk@*.service")

_ABOUT = {
    "findings.txt": "what was found, and the remedies",
    "findings.json": "the same for programs",
    "machine.txt": "system, memory, disk, versions of what the server uses",
    "settings.txt": "tokens, passwords, keys and the prompt are left out",
    "certificate.txt": "the certificate and its CA: dates, and this machine's names and addresses; no keys",
    "pair.json": "which models these are",
    "journal.txt": "of our units; addresses of clients are left out",
}


def pack(
    target: Path, findings: Sequence[Finding], settings: Settings | ApplianceError, logs: Sequence[Path] = ()
) -> str:
    """Write the bundle, readable by its owner only; returns what is in it.

    Raises:
        ApplianceError: the file is there already or can't be written, or a log can't be read.
    """
    files = {"findings.txt": as_text(findings), "findings.json": as_json(findings), "machine.txt": _machine()}
    secrets = _environment_secrets()
    if isinstance(settings, Settings):
        files |= {"settings.txt": _settings(settings), "certificate.txt": _certificate(settings), **_pair(settings)}
        secrets |= {*_tokens(settings), settings.initial_prompt}
    if journal := _journal():
        files["journal.txt"] = without_addresses(journal)
    for log in logs:
        files[f"log-{log.name}"] = without_addresses(_read_log(log))
    files = {name: bounded(without_secrets(text, secrets)) for name, text in files.items()}
    files["README.txt"] = said = _explain(files)
    _write(target, files)
    return said


def bounded(text: str) -> str:
    """The end of it: lines and bytes have an upper limit."""
    kept = "".join(text.splitlines(keepends=True)[-MOST_LINES:]).encode()
    return kept[-MOST_BYTES:].decode(errors="ignore")


def _write(target: Path, files: Mapping[str, str]) -> None:
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ApplianceError(f"{target} is there already", "name another file: --out") from error
    except OSError as error:
        raise ApplianceError(f"can't write {target}: {error.strerror}", "name another place: --out") from error
    try:
        with os.fdopen(handle, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, text in files.items():
                content = text.encode()
                member = tarfile.TarInfo(f"{_FOLDER}/{name}")
                member.size, member.mode, member.mtime = len(content), 0o600, int(target.stat().st_mtime)
                archive.addfile(member, io.BytesIO(content))
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ApplianceError(f"can't write {target}: {error.strerror}", "is there room? df -h") from error


def _read_log(file: Path) -> str:
    try:
        with file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 2 * MOST_BYTES))
            return log.read().decode(errors="replace")
    except OSError as error:
        raise ApplianceError(f"can't read the log {file}: {error.strerror}", "name another: --log FILE") from error


def _environment_secrets() -> set[str]:
    named = {name: value for name, value in os.environ.items() if name.startswith("WLK_") and is_secret(name)}
    for file in ("WLK_TLS_KEY", "WLK_TOKEN_FILE"):  # names of them are no secrets
        named.pop(file, None)
    listed = named.get("WLK_TOKENS", "").split()
    return {*named.values(), *(word for word in listed if len(word) >= LEAST_CHARS)}


def _tokens(settings: Settings) -> set[str]:
    try:
        return {token.secret for token in read_tokens(settings)}
    except ApplianceError:  # a list that can't be used; what it says is packed nowhere
        return {settings.token.get_secret_value()} if settings.token else set()


def _settings(settings: Settings) -> str:
    rows = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return "".join(f"{name} = {SECRET if is_secret(name) and value else value}\n" for name, value in rows)


def _machine() -> str:
    disk = shutil.disk_usage("/")
    rows = [
        f"wlk-appliance {__version__}, Python {platform.python_version()}",
        " ".join(os.uname()),
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"/: {disk.free} of {disk.total} bytes free",
    ]
    for file in (Path("/etc/os-release"), Path("/etc/nv_tegra_release"), Path("/proc/meminfo")):
        if file.is_file():
            rows += ["", f"== {file}", file.read_text(encoding="utf-8", errors="replace").rstrip()]
    versions = sorted(f"{found.name} {found.version}" for found in distributions() if found.name)
    return "\n".join([*rows, "", "== Python distributions", *versions]) + "\n"


def _certificate(settings: Settings) -> str:
    files = files_in(settings.state_dir)
    rows = []
    for path in (settings.tls_cert or files.certificate, files.authority):
        try:
            found = load(path) if path else None
        except OSError as error:
            rows.append(f"{path}: {error.strerror}")
            continue
        rows.append(f"{path}: {_facts(found) if found else 'none'}")
    return "\n".join(rows) + "\n"


def _facts(found: x509.Certificate) -> str:
    names = ", ".join(str(name.value) for name in alternatives(found))
    dates = f"{found.not_valid_before_utc:%Y-%m-%d %H:%M} to {found.not_valid_after_utc:%Y-%m-%d %H:%M}"
    lines = (dates, f"by {found.issuer.rfc4514_string()}", f"SHA-256 {fingerprint(found)}", f"names {names}")
    return "\n  ".join(("", *lines))


def _pair(settings: Settings) -> dict[str, str]:
    try:
        record = locate(settings)[0].encoder_dir.parent / "pair.json"
        return {"pair.json": record.read_text(encoding="utf-8")}
    except (ApplianceError, OSError):
        return {}  # the findings tell


def _journal() -> str:
    """Of our units, where systemd keeps one; for a container that is its host."""
    if not shutil.which("journalctl") or not Path("/run/systemd/system").is_dir():
        return ""
    words = [word for unit in _UNITS for word in ("--unit", unit)]
    words += ["--lines", str(MOST_LINES), "--output", "short-iso", "--no-pager"]
    try:
        return run(["journalctl", *words], check=False, capture=True, timeout_s=_JOURNAL_LIMIT_S).stdout
    except ApplianceError as error:
        return f"{error}\n"


def _explain(files: Mapping[str, str]) -> str:
    rows = [f"{name:<18} {_ABOUT.get(name, 'addresses of clients are left out')}" for name in files]
    return "\n".join(
        [
            f"What wlk-appliance support-bundle packed on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}.",
            "",
            *rows,
            "",
            f"Of each the last {MOST_LINES} lines, {MOST_BYTES // 10**6} MB at most.",
            "No recording and no transcript is in it: the server logs neither.",
            "",
        ]
    )
