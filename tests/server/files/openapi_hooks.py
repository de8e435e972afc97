"""Loaded by schemathesis: a file is a second of silence, which is soon worked on, or something that is no recording."""

import io
import wave

import schemathesis
from hypothesis import strategies


def silence() -> bytes:
    """A WAV file of a second in which nobody speaks."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(32000))
    return out.getvalue()


OTHERS = (
    b"",
    b"no sound " * 20,
    b"OggS" + bytes(500),
    silence()[:30],
    b"\x1aE\xdf\xa3" + bytes(500),
    b"PK\3\4" + bytes(99),
)

schemathesis.openapi.format("binary", strategies.just(silence()) | strategies.sampled_from(OTHERS))
