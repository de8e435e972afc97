"""One record of a journal: a line of a file, a JSON object whose last field is a checksum of what is before it."""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

VERSION = 1
"""Of the records' form."""

LONGEST_BYTES = 4 * 1024 * 1024
"""No record is longer: a line of text is closed after a minute of speech."""

_SUM = re.compile(rb',"crc":"([0-9a-f]{8})"\}\n\Z')


def encode(fields: Mapping[str, Any]) -> bytes:
    """A record's line. ``fields`` are not empty."""
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1].encode("utf-8", "replace")
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def decode(line: bytes) -> dict[str, Any] | None:
    """What a line says, without its checksum; None where it is not as it was written."""
    found = _SUM.search(line)
    if not found or zlib.crc32(line[: found.start()]) != int(found[1], 16):
        return None
    try:
        fields: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return None
    del fields["crc"]
    return fields
