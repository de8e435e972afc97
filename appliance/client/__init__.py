"""A client of the `/asr` protocol: a recording through a server, and what its updates add up to."""

from appliance.client.connection import ClientOptions, transcribe
from appliance.client.state import Transcript

__all__ = ["ClientOptions", "Transcript", "transcribe"]
