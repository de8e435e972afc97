"""Offline-first speech-to-text appliance: build tools, speech engine and server."""

__version__ = "0.1.0"
