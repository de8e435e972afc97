"""The two ways from a recording to its text: through a server, or through an engine in this process."""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from appliance import client
from appliance.client import ClientOptions
from appliance.recording import local
from appliance.recording.playback import Pace
from appliance.server.models import locate, locate_diarizer
from appliance.server.settings import Settings
from appliance.speech.live import LiveStream
from appliance.speech.types import Samples, Snapshot

if TYPE_CHECKING:
    from appliance.server.streams import Models

Watch = Callable[[Snapshot], None]


class Way(Protocol):
    """``open`` before the first stream; any number of streams, one after the other; ``close`` after the last."""

    def open(self) -> None: ...
    def run(self, samples: Iterable[Samples], watch: Watch, stop: threading.Event) -> None:
        """Stream to the end, or until ``stop`` is set; ``watch`` gets each state of the transcript."""

    def close(self) -> None: ...


class ThroughServer:
    """A connection for each stream. ``tell`` gets a remark for who speaks."""

    def __init__(self, options: ClientOptions, tell: Callable[[str], None]) -> None:
        self._options = options
        self._tell = tell

    def open(self) -> None:
        pass

    def run(self, samples: Iterable[Samples], watch: Watch, stop: threading.Event) -> None:
        client.transcribe(
            samples,
            self._options,
            lambda transcript: watch(transcript.snapshot()),
            stop,
            lambda: self._tell("note: this server keeps what is said, in its journal"),
        )

    def close(self) -> None:
        pass


class InProcess:
    """The models, loaded once, by ``open``.

    Raises:
        ApplianceError: there are none, or they don't fit.
    """

    def __init__(
        self,
        settings: Settings,
        language: str | None,
        target_language: str | None,
        pace: Pace,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._language = language or settings.language
        self._target = settings.target_language if target_language is None else target_language
        self._pace = pace
        self._tell = tell
        self._pair, self._vad_file = locate(settings)
        self._diarizer = locate_diarizer(settings, self._pair, self._vad_file)
        self._models: Models | None = None

    def open(self) -> None:
        if self._models is None:
            from appliance.server.streams import load_models  # what a client never needs

            self._tell(f"loading {self._pair.name}")
            self._models = load_models(self._settings, self._pair, self._vad_file, self._diarizer)

    def run(self, samples: Iterable[Samples], watch: Watch, stop: threading.Event) -> None:
        from appliance.server.streams import stream_options

        models = self._models
        assert models is not None
        options = stream_options(self._settings, language=self._language, task=self._settings.task)

        def open_stream(take: Watch) -> LiveStream:
            return models.open_stream(options, take, diarization=True, target_language=self._target)

        local.transcribe(samples, open_stream, watch, pace=self._pace, stop=stop)

    def close(self) -> None:
        if self._models is not None:
            self._models.close()
