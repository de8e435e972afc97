"""The secrets that clients may give, each with a name that may be logged: of the settings and of a file."""

import logging
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import UsageError
from appliance.server.settings import Settings, describe

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024
LEAST_CHARS = 8
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})(?::\s*|\s+)(\S+)")
_OF_SETTINGS = "token"
"""The name of the one that has none."""


@dataclass(frozen=True, slots=True)
class Token:
    """A secret, and who has it. Several may have the same name, as while one takes the place of another."""

    name: str
    secret: str = field(repr=False)


def read_tokens(settings: Settings) -> tuple[Token, ...]:
    """All tokens that are good here; none: whoever reaches the port may use it.

    Raises:
        UsageError: the file can't be read, or a line of it is none; never telling what stands there.
    """
    found: list[Token] = []
    if settings.token:
        found.append(Token(_OF_SETTINGS, settings.token.get_secret_value()))
    if settings.tokens:
        found += _parsed(settings.tokens.get_secret_value(), describe("tokens"))
    if settings.token_file:
        found += _parsed(_text(settings.token_file), str(settings.token_file))
    return tuple(found)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
            mode = stat.S_IMODE(file.stat().st_mode)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(
            f"can't read {describe('token_file')} {file}: {reason}", "give a file that this user may read"
        ) from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{file} is no list of tokens: over {MOST_BYTES} bytes", "lines of NAME: TOKEN are expected")
    if mode & 0o007:
        log.warning("others on this machine may read the tokens in %s (mode %o): chmod o= %s", file, mode, file)
    return text


def _parsed(text: str, where: str) -> list[Token]:
    found: list[Token] = []
    for number, row in enumerate(text.splitlines(), 1):
        line = row.strip()
        if not line or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        if not parts or not line.isprintable():
            raise UsageError(
                f"{where}, line {number}, is no token",
                "NAME: TOKEN is expected; the name of letters, digits, '.', '_' and '-', the token without blanks",
            )
        token = Token(parts[1], parts[2])
        if len(token.secret) < LEAST_CHARS:
            raise UsageError(
                f"{where}, line {number}: the token of {token.name} has fewer than {LEAST_CHARS} characters",
                "make a long one, for example: openssl rand -hex 24",
            )
        if any(token.secret == other.secret for other in found):
            raise UsageError(
                f"{where}, line {number}: the token of {token.name} stands there twice", "give each client its own"
            )
        found.append(token)
    if not found:
        # Not the same as no file: somebody meant to keep others out.
        raise UsageError(f"{where} holds no token", "write lines of NAME: TOKEN, or take the setting away")
    return found
