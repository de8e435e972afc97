"""The one error that users are meant to read: a message and a hint.

Only the entry point (`appliance.cli`) prints it and chooses the exit status; the server turns
it into an error event. Everything else raises it.
"""


class ApplianceError(Exception):
    """Something the user can act on.

    Args:
        message: what is wrong, naming the thing (file, setting, model) and its value.
        hint: what to do about it, as something to type where possible.
        code: short machine-readable name, used in protocol error events.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "", *, code: str = "error") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(ApplianceError):
    """The command line or a setting is wrong."""

    exit_status = 2
