"""A stream of the engine, as those see it that feed one; what tells speakers or translates is put around one."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.speech.types import Samples, Snapshot

OnSnapshot = Callable[[Snapshot], None]
"""What a stream hands its snapshots to; must return at once."""


class LiveStream(Protocol):
    """Samples in, snapshots out to the callback it was opened with. All methods may be called from any thread."""

    finished: Future[Snapshot]
    """The final state, once all is said; or the error that ended the stream."""

    @property
    def backlog_s(self) -> float:
        """Seconds of audio fed but not yet heard; the caller bounds it."""

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream; returns at once."""

    def finish(self) -> None:
        """No more audio will come."""

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """The final state, after `finish`; raises what ended the stream early."""

    def close(self) -> None:
        """Leave the engine."""


def outcome(finished: "Future[Snapshot]", timeout_s: float | None) -> Snapshot:
    """The final state of a stream.

    Raises:
        TimeoutError: it takes longer.
        ApplianceError: the stream failed, or was closed before its end.
        OSError: as who takes its snapshots raised it, writing somewhere.
    """
    try:
        error = finished.exception(timeout_s)
    except CancelledError as cancelled:
        raise ApplianceError("the stream was closed before its end", code="closed") from cancelled
    if error is None:
        return finished.result()
    if isinstance(error, ApplianceError | OSError):
        raise error
    raise ApplianceError(
        f"the stream failed: {type(error).__name__}: {error}",
        "is there enough memory? wlk-appliance selftest tries the models alone",
        code="internal",
    ) from error
