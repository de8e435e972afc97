"""A client of the `/asr` protocol: a stream or a recording through a server, and what its updates add up to."""

from appliance.client.connection import ClientStream, open_stream
from appliance.client.options import ClientOptions
from appliance.client.recording import transcribe
from appliance.client.state import Transcript

__all__ = ["ClientOptions", "ClientStream", "Transcript", "open_stream", "transcribe"]
