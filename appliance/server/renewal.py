"""What the state folder's certificate lacks: what must be made anew, why, and for which names."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.errors import ApplianceError
from appliance.server.authority import AUTHORITY, Authority, is_private, permits, permitted
from appliance.server.certificate import Certificate, check, check_fit, load
from appliance.server.hostnames import GIVEN_NAME, host_addresses, host_names, is_passing
from appliance.server.places import AUTHORITY_KEY_FILE

SELF_SIGNED = "wlk-appliance self-signed"
"""What earlier versions made; it gives way to a CA and its leaf."""
RENEW_DAYS = 30
AUTHORITY_RENEW_DAYS = 60
"""More than a leaf's, so that no leaf is made that must be renewed at once."""
_MOST_KEPT = 100

Names = tuple[x509.GeneralName, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. With nothing in ``why`` all is well; a certificate that is not ours is left alone."""

    why: str = ""
    authority: Authority | None = None
    """The CA to go on with; None: a new one."""
    names: Names = ()
    """Of this device, now."""
    kept: Names = ()
    """What the certificate before named as well, so that two who ask for different names don't take turns."""
    subtrees: Names = ()
    """Constraints that a new CA takes over, for the same reason."""
    left_out: Names = ()
    foreign: bool = False


# A certificate that begins in the future is no reason: mostly it is the clock that is late, as after a start
# of a machine whose clock has no battery, and what would be made then would have expired when the clock is set.
def plan(files: Certificate, given: Sequence[str] = (), found: Sequence[str] = ()) -> Plan:
    """See what must be made, and change nothing.

    Args:
        given: names and addresses that a person asked for.
        found: those of the machine that a container runs on, as its own.

    Raises:
        ApplianceError: a name is none, or a certificate of the site's in our place can't be used.
        OSError: a file can't be read.
    """
    assert files.authority is not None
    names = subject_names([*given, *found])
    leaf = load(files.certificate)
    if leaf is not None and is_foreign(leaf):
        check(files)
        return Plan(foreign=True)
    ours = leaf is not None and _organisation(leaf.issuer) == AUTHORITY
    kept = _lasting([name for name in alternatives(leaf) if name not in names]) if ours else ()
    old = load(files.authority)
    authority, why = _usable(files, old)
    if authority is None:
        subtrees = permitted(old) if old is not None and _organisation(old.subject) == AUTHORITY else []
        return Plan(why, None, names, kept, _lasting(subtrees))
    asked = [_general_name(name) for name in given]
    outside = [name for name in names if not permits(authority.certificate, name)]
    if needed := [name for name in outside if name in asked or not _comes_and_goes(name)]:
        why = f"{_text(needed[0])} is outside what the CA may name"
        return Plan(why, None, names, kept, _lasting(permitted(authority.certificate)))
    wanted = tuple(name for name in names if name not in outside)
    return Plan(_why_leaf(files, leaf, authority, wanted), authority, wanted, kept, left_out=tuple(outside))


def is_foreign(leaf: x509.Certificate) -> bool:
    """Whether it is none that we made."""
    return _organisation(leaf.issuer) not in (AUTHORITY, SELF_SIGNED)


def subject_names(given: Sequence[str] = ()) -> Names:
    """What the certificate is for: names as DNS entries, addresses as IP entries, each kind in order."""
    named = [*map(x509.DNSName, host_names()), *map(x509.IPAddress, host_addresses()), *map(_general_name, given)]
    return tuple(sorted(dict.fromkeys(named), key=lambda name: isinstance(name, x509.IPAddress)))


def _general_name(text: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(_ascii_name(text))


def _ascii_name(name: str) -> str:
    try:
        ascii_name = (name if name.isascii() else name.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        ascii_name = ""
    if not GIVEN_NAME.fullmatch(ascii_name) or len(ascii_name) > 253:
        raise ApplianceError(f"--tls-names: not a host name: {name!r}", "give names and addresses, by commas")
    return ascii_name


def _usable(files: Certificate, old: x509.Certificate | None) -> tuple[Authority | None, str]:
    """The CA that is there, or why it can't be gone on with."""
    assert files.authority is not None
    if old is None:
        return None, "first start" if not files.certificate.exists() else "there is no CA yet"
    if _organisation(old.subject) != AUTHORITY:
        return None, f"{files.authority.name} is not ours"
    try:
        key = serialization.load_pem_private_key(
            files.authority.with_name(AUTHORITY_KEY_FILE).read_bytes(), password=None
        )
    except (FileNotFoundError, ValueError, TypeError):
        return None, "the CA's key is lost"
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != old.public_key():
        return None, "the CA's key is another's"
    left = old.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=AUTHORITY_RENEW_DAYS):
        return None, "the CA expires" if left > datetime.timedelta(0) else "the CA expired"
    return Authority(old, key), ""


def _why_leaf(files: Certificate, leaf: x509.Certificate | None, authority: Authority, names: Names) -> str:
    if leaf is None:
        return "it was lost"
    try:
        leaf.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "the old one is not the CA's"
    left = leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=RENEW_DAYS):
        return "the old one expires" if left > datetime.timedelta(0) else "the old one expired"
    there = alternatives(leaf)
    if added := [name for name in names if name not in there]:
        return f"{_text(added[0])} was added"
    try:
        check_fit(files)
    except ApplianceError as error:
        return error.message
    return ""


def alternatives(leaf: x509.Certificate | None) -> Names:
    """The names and addresses that a certificate is for."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value if leaf else ()
    except x509.ExtensionNotFound:
        return ()
    return tuple(name for name in found if isinstance(name, x509.DNSName | x509.IPAddress))


def _lasting(names: Sequence[x509.GeneralName]) -> Names:
    """What is worth taking over: a device's, and not too many."""
    return tuple(name for name in names if not (isinstance(name, x509.DNSName) and is_passing(name.value)))[:_MOST_KEPT]


def _comes_and_goes(name: x509.GeneralName) -> bool:
    """Not worth a new CA, which all browsers would have to trust: public addresses, a container's own name."""
    if isinstance(name, x509.IPAddress):
        return not is_private(name)
    return is_passing(name.value)


def _organisation(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else ""


def _text(name: x509.GeneralName) -> str:
    return str(name.value)
