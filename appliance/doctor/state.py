"""What the server keeps: its folder, and the certificate in it."""

import contextlib
import datetime
import os
import stat
from pathlib import Path

from appliance.doctor.finding import Finding, failed
from appliance.errors import ApplianceError
from appliance.journal.folder import Folder
from appliance.server.certificate import Certificate, check, load
from appliance.server.places import AUTHORITY_KEY_FILE
from appliance.server.renewal import RENEW_DAYS
from appliance.server.settings import Settings
from appliance.server.tls import due, files_in

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_state(folder: Path) -> Finding:
    """Whether this user, who is to run the server, can keep something there."""
    if not folder.exists():
        parent = next(path for path in folder.absolute().parents if path.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding("state", "error", f"{folder} can't be made in {parent}", _give(folder))
        return Finding("state", "note", f"no {folder} yet: the server makes it")
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding("state", "error", f"user {os.geteuid()} can't write in {folder}", _give(folder))
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        return Finding("state", "warning", f"others may enter {folder} (mode {mode:o})", f"chmod 0700 {folder}")
    return Finding("state", "ok", f"{folder} belongs to the server, and to nobody else")


def check_journal(folder: Path | None) -> list[Finding]:
    """Whether this user, who is to run the server, can keep what is said there, and nobody else can read it."""
    if folder is None:
        return []
    if not folder.exists():
        return [Finding("journal", "note", f"no {folder} yet: the server makes it")]
    try:
        with contextlib.closing(Folder.own(folder)) as opened:
            files, read_only = opened.files(), opened.read_only
    except ApplianceError as error:
        return [failed("journal", error)]
    if read_only:
        return [Finding("journal", "error", f"{folder} is on a disk that is read-only", "mount it to be written")]
    size = sum(file.bytes for file in files) / 1e6
    return [Finding("journal", "ok", f"{len(files)} streams, {size:.0f} MB in {folder}, for the server alone")]


def check_certificate(settings: Settings) -> list[Finding]:
    """Dates, names and keys of what browsers are shown."""
    if not settings.tls:
        return [Finding("certificate", "note", "TLS is off: a proxy must do it, or browsers give no microphone")]
    if settings.tls_cert and settings.tls_key:
        files = Certificate(settings.tls_cert, settings.tls_key)
    else:
        files = files_in(settings.state_dir)
    try:
        found = _check_dates(files, settings)
        return [found] if found.severity == "error" else [found, *_check_keys(files), *_check_due(settings)]
    except ApplianceError as error:
        return [failed("certificate", error)]
    except OSError as error:
        seen = f"can't read {error.filename}: {error.strerror}"
        return [Finding("certificate", "error", seen, _give(settings.state_dir))]


def _check_dates(files: Certificate, settings: Settings) -> Finding:
    leaf = load(files.certificate)
    if settings.tls_cert:
        leaf = check(files)
    if leaf is None:
        if files.certificate.exists():
            seen = f"{files.certificate} can't be read as one"
            return Finding("certificate", "error", seen, f"rm {files.certificate}; wlk-appliance cert")
        return Finding("certificate", "note", "none yet: the server makes it", "wlk-appliance cert")
    now = datetime.datetime.now(datetime.UTC)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now < begin:
        seen = f"valid only from {begin:%Y-%m-%d} on: most likely the clock is late"
        return Finding("certificate", "error", seen, "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'")
    if now >= end:
        return Finding("certificate", "error", f"expired on {end:%Y-%m-%d}", "wlk-appliance cert")
    if now >= end - datetime.timedelta(days=RENEW_DAYS):
        seen = f"expires on {end:%Y-%m-%d}, and was not renewed"
        return Finding("certificate", "warning", seen, "wlk-appliance cert")
    return Finding("certificate", "ok", f"valid until {end:%Y-%m-%d}")


def _check_keys(files: Certificate) -> list[Finding]:
    keys = (files.key, files.key.with_name(AUTHORITY_KEY_FILE))
    return [
        Finding("certificate key", "error", f"others may read the private key {key}", f"chmod 0600 {key.resolve()}")
        for key in keys
        if key.exists() and key.stat().st_mode & _OTHERS
    ]


def _check_due(settings: Settings) -> list[Finding]:
    """Whether it is for all names, and stands under its CA."""
    if settings.tls_cert or not files_in(settings.state_dir).certificate.exists():
        return []
    plan = due(settings.state_dir, settings.tls_names, settings.tls_host_names)
    if plan.why:
        return [Finding("certificate names", "warning", f"a new one is due: {plan.why}", "wlk-appliance cert")]
    if plan.foreign:
        return [Finding("certificate names", "note", "the site's own: its names are not looked at")]
    return [Finding("certificate names", "ok", "every name and address of this machine stands in it")]


def _give(folder: Path) -> str:
    return f"chown -R {os.geteuid()} {folder}; or another folder: WLK_STATE_DIR"
