"""Whole files to text by faster-whisper, in a process of its own beside the server's."""
