"""Logging set-up, called once by an entry point and never on import."""

import logging
import sys


def configure(level: str = "info") -> None:
    """Log to stderr, one line a record; the transcript and results go to stdout."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
