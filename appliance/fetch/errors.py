"""Why one source did not give its file."""


class SourceError(Exception):
    """One line for the user; the next source is tried."""


class UnreachableError(SourceError):
    """No connection to a server: another try now would only cost the same wait again."""


class BrokenOffError(SourceError):
    """A request or transfer that stopped half-way, in a manner that another try may mend."""


class StartAgainError(BrokenOffError):
    """What is here of the file can't be gone on from."""
