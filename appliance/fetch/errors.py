"""Why one source did not give its file."""


class SourceError(Exception):
    """One line for the user; the next source is tried."""
