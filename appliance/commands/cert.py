"""``wlk-appliance cert``: make, renew or show the certificate of a state folder. scripts/wlk_cert.sh does the same."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from appliance.errors import ApplianceError
from appliance.server.authority import fingerprint, permitted
from appliance.server.certificate import Certificate, check, load
from appliance.server.flags import load_settings
from appliance.server.places import TLS_FOLDER
from appliance.server.renewal import alternatives
from appliance.server.settings import Settings
from appliance.server.tls import due, files_in, keep


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance cert",
        description="Make or renew the server's certificate under a local CA, which browsers are to trust once.",
        epilog="Reads WLK_STATE_DIR, WLK_TLS_NAMES, WLK_TLS_CERT and WLK_TLS_KEY as the server does. "
        "Status: 0 done, or nothing to do; 1 failed, or with check: make would make one; 2 wrong usage.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        default="make",
        choices=("make", "check", "show", "fingerprint"),
        help="make what is missing or due, and say nothing if nothing is; check whether that is so; "
        "show names, dates and fingerprints; the SHA-256 fingerprint of the CA alone [make]",
    )
    parser.add_argument("--state-dir", metavar="DIR", help="the server's state folder; the files are in DIR/tls")
    parser.add_argument("--names", metavar="A,B", help="more names and addresses, as the server's --tls-names")
    given = parser.parse_args(argv)
    flags = {"--state-dir": given.state_dir, "--tls-names": given.names}
    settings = load_settings([word for flag, value in flags.items() if value is not None for word in (flag, value)])
    if settings.tls_cert and settings.tls_key:
        return _of_the_site(Certificate(settings.tls_cert, settings.tls_key), given.what)
    if given.what in ("make", "check"):
        return _make(settings) if given.what == "make" else _check(settings)
    return _show(files_in(settings.state_dir), given.what)


def _make(settings: Settings) -> int:
    _refuse_for_others(settings.state_dir)
    if said := keep(settings.state_dir, settings.tls_names, settings.tls_host_names).said:
        print(said)
    return 0


def _check(settings: Settings) -> int:
    found = due(settings.state_dir, settings.tls_names, settings.tls_host_names)
    if not found.why:
        return 0
    print(f"due: a new {'certificate' if found.authority else 'CA and certificate'}: {found.why}")
    return 1


def _of_the_site(own: Certificate, what: str) -> int:
    check(own)
    if what in ("show", "fingerprint"):
        return _show(own, what)
    return 0


def _show(files: Certificate, what: str) -> int:
    try:
        leaf = load(files.certificate)
        authority = load(files.authority) if files.authority else None
    except OSError as error:
        raise ApplianceError(f"can't read {error.filename}: {error.strerror}", "run this as its owner") from error
    if authority is not None and (leaf is None or leaf.issuer != authority.subject):
        authority = None
    if what == "fingerprint":
        if authority is None:
            raise ApplianceError(f"no CA of ours in {files.key.parent}", "make one: wlk-appliance cert")
        print(fingerprint(authority))
        return 0
    if leaf is None:
        raise ApplianceError(f"no certificate at {files.certificate}", "make one: wlk-appliance cert")
    _print("certificate", files.certificate, leaf, "names", alternatives(leaf))
    if authority is None or files.authority is None:
        print("ca           none of ours: this certificate is the site's own")
    else:
        _print("ca", files.authority, authority, "may name", permitted(authority))
    return 0


def _print(what: str, path: Path, certificate: x509.Certificate, of: str, names: Sequence[x509.GeneralName]) -> None:
    print(f"{what:<12} {path}")
    print(f"{'  valid':<12} {certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"{'  ' + of:<12} {', '.join(str(name.value) for name in names)}")
    print(f"{'  SHA-256':<12} {fingerprint(certificate)}")


def _refuse_for_others(state_dir: Path) -> None:
    """As root in another's folder the server could not read the key, and a link there could lead anywhere."""
    folder = next((path for path in (state_dir / TLS_FOLDER, state_dir) if os.path.lexists(path)), None)
    if os.geteuid() == 0 and folder is not None and (owner := folder.lstat().st_uid) != 0:
        raise ApplianceError(
            f"{folder} belongs to user {owner}, not to root",
            f"run this as that user: sudo -u '#{owner}'; wlk_cert.sh does so by itself",
        )
