"""Reading the fields of a form; those that nobody asks for are left alone."""

from collections.abc import Mapping, Sequence

from appliance.server.refusals import FieldError

Fields = Mapping[str, Sequence[str]]


def one(fields: Fields, name: str, default: str = "") -> str:
    """A field that may be given once; an empty one counts as not given.

    Raises:
        FieldError: it is given twice.
    """
    values = fields.get(name, ())
    if len(values) > 1:
        raise FieldError(name, f"{name} is given {len(values)} times", "give it once")
    return (values[0].strip() if values else "") or default


def choice(fields: Fields, name: str, allowed: Sequence[str]) -> str:
    """One of a few values, the first where none is given.

    Raises:
        FieldError: it is another.
    """
    value = one(fields, name, allowed[0])
    if value not in allowed:
        raise impossible(name, value, ", ".join(allowed))
    return value


def number(fields: Fields, name: str, least: float, most: float) -> float | None:
    """A number within bounds, or None.

    Raises:
        FieldError: it is none, or out of bounds.
    """
    text = one(fields, name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise impossible(name, text, f"a number from {least:g} to {most:g}")
    return value


def impossible(name: str, value: str, expected: str) -> FieldError:
    return FieldError(name, f"{name}={value[:40]!r} is not possible", f"expected: {expected}")
