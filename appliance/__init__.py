"""Offline-first speech-to-text appliance: build tools, speech engine and server."""

import os

__version__ = "0.1.0"

# ONNX Runtime's wheels send usage data to their maker unless this is set before they are loaded (its Privacy.md).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
