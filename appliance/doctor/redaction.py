"""What leaves the machine in a support bundle, without secrets and without the addresses of clients."""

import re
from collections.abc import Iterable

SECRET = "(secret)"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|PROMPT", re.IGNORECASE)
"""The prompt, too, may hold names of people."""
_IN_TEXT = (
    (re.compile(r"([?&]token=)[^& \"]*"), rf"\1{SECRET}"),
    (re.compile(r"([Bb]earer |[Aa]uthorization: [Bb]asic )[A-Za-z0-9._~+/=-]{8,}"), rf"\1{SECRET}"),
    (re.compile(r"://[^/@\s]*@"), f"://{SECRET}@"),
)
_GROUP = "[0-9A-Fa-f]{1,4}"
_ADDRESSES = (
    re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"),
    # The last group may be a port.
    re.compile(
        rf"(?<![0-9A-Za-z:_])(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}(?::{_GROUP})*)?::(?:{_GROUP}(?::[0-9A-Fa-f]{{1,5}})*)?)"
        r"(?![0-9A-Za-z_])"
    ),
)


def is_secret(name: str) -> bool:
    """Whether a setting of this name is told to nobody."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str, values: Iterable[str]) -> str:
    for value in sorted(filter(None, values), key=len, reverse=True):
        text = text.replace(value, SECRET)
    for pattern, instead in _IN_TEXT:
        text = pattern.sub(instead, text)
    return text


def without_addresses(text: str) -> str:
    for pattern in _ADDRESSES:
        text = pattern.sub("(address)", text)
    return text
