"""How much audio a file may hold: told before any of it is worked on, as far as its packets say."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.speech.audio.file import packets_s
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

_SLACK_S = 1.0
"""What codecs add at the ends of a recording."""


def check_length(path: Path, max_s: float) -> None:
    """Raise an `ApplianceError` (code ``too_long``) for a file that is. Nothing is decoded."""
    if packets_s(path) > max_s + _SLACK_S:
        raise _too_long(max_s)


def limited(samples: Iterable[Samples], max_s: float) -> Iterator[Samples]:
    """The samples, unless they are too many after all: ``too_long``. Not all packets say how long they are."""
    room = round((max_s + _SLACK_S) * SAMPLE_RATE_HZ)
    for piece in samples:
        room -= piece.size
        if room < 0:
            raise _too_long(max_s)
        yield piece


def _too_long(max_s: float) -> ApplianceError:
    return ApplianceError(
        f"the file is longer than {max_s / 60:g} minutes",
        "cut it, or raise --max-file-minutes (WLK_MAX_FILE_MINUTES)",
        code="too_long",
    )
