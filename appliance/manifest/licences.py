"""What may be done with an image that holds certain models: the terms of their licences, and policies over them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from appliance.errors import ApplianceError
from appliance.manifest.items import Item

Policy = Literal["any", "redistributable", "commercial"]
"""``redistributable``: the image may be handed on, with no duty but naming its authors. ``commercial``: and sold."""

POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a licence allows; ``condition`` says what it asks for besides naming the authors."""

    redistribution: bool = True
    commercial_use: bool = True
    condition: str = ""


_FREE = Terms()
_TERMS = {
    "Apache-2.0": _FREE,
    "BSD-3-Clause": _FREE,
    "CC-BY-4.0": _FREE,
    "CC0-1.0": _FREE,
    "MIT": _FREE,
    "CC-BY-NC-4.0": Terms(commercial_use=False, condition="no commercial use"),
    "LicenseRef-NVIDIA-Open-Model-License": Terms(
        redistribution=False, condition="handed on only under its own agreement, whose text and notice must go along"
    ),
}
_UNKNOWN = Terms(False, False, "its terms are not known here")
_PUBLIC_DOMAIN = "Public domain"


def terms(licence: str) -> Terms:
    """Of a licence as the manifest names it; of one that is not known here nothing is allowed."""
    return _FREE if licence.startswith(_PUBLIC_DOMAIN) else _TERMS.get(licence, _UNKNOWN)


def check_licences(items: Iterable[Item], policy: Policy) -> None:
    """Refuse what a policy does not allow.

    Raises:
        ApplianceError: names each item with its licence and what that asks for.
    """
    refused = [item for item in items if not _allows(terms(item.licence), policy)]
    if refused:
        rows = [f"  {item.name}: {item.licence} ({terms(item.licence).condition})" for item in refused]
        raise ApplianceError(
            f"the licence policy {policy!r} does not allow:\n" + "\n".join(rows),
            "leave them out, or choose another policy: --licence-policy any",
            code="licence",
        )


def _allows(found: Terms, policy: Policy) -> bool:
    if policy == "any":
        return True
    return found.redistribution and (policy == "redistributable" or found.commercial_use)
