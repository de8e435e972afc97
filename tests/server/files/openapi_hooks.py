"""Loaded by schemathesis: a file is a second of silence, which is soon worked on."""

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


schemathesis.openapi.format("binary", strategies.just(silence()))
