"""From settings to what is loaded for streams, and to what each of them is asked for."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.pair.locate import Pair
from appliance.server.models import compute_type
from appliance.server.settings import Settings
from appliance.speakers.load import DiarizerConfig, load_diarizer
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speakers.stream import SpeakerStream
from appliance.speech.hypothesis import Task
from appliance.speech.live import LiveStream
from appliance.speech.profile import PROFILES, agreeing, padded, translating
from appliance.speech.scheduler import OnSnapshot
from appliance.speech.session import StreamOptions

if TYPE_CHECKING:
    from appliance.speech.engine import Engine


@dataclass(frozen=True, slots=True)
class Models:
    """All that is loaded for streams, once for all of them. ``speakers``: None where they are not told apart."""

    engine: "Engine"
    speakers: SpeakerScheduler | None = None

    def open_stream(self, options: StreamOptions, on_snapshot: OnSnapshot, *, diarization: bool) -> LiveStream:
        """Begin a stream; ``diarization``: with its speakers told apart, where they can be.

        Raises:
            ApplianceError: the model does not know the language.
        """
        open_stream = partial(self.engine.open_stream, options)
        if diarization and self.speakers:
            return SpeakerStream(open_stream, self.speakers, on_snapshot)
        return open_stream(on_snapshot)

    def close(self) -> None:
        """Wait for what is under way and let the threads end."""
        self.engine.close()
        if self.speakers:
            self.speakers.close()


def load_models(settings: Settings, pair: Pair, vad_file: Path, diarizer: DiarizerConfig | None) -> Models:
    """Load all of it as set. Takes seconds, and imports torch.

    Raises:
        ApplianceError: something can't be loaded, a language is set that the model does not know, or a voice can't be
            enrolled.
    """
    engine = load_engine(settings, pair, vad_file)
    if diarizer is None:
        return Models(engine)
    return Models(engine, SpeakerScheduler(load_diarizer(diarizer), max_speakers=settings.max_speakers))


def load_engine(settings: Settings, pair: Pair, vad_file: Path) -> "Engine":
    """Load the models as set. Takes seconds, and imports torch.

    Raises:
        ApplianceError: something can't be loaded, or a language is set that the model does not know.
    """
    from appliance.speech.engine import Engine, EngineConfig  # imports torch: neither a port nor a client waits for it

    engine = Engine.load(
        EngineConfig(
            pair=pair,
            vad_file=vad_file,
            device=settings.device,
            compute_type=compute_type(settings),
            workers=settings.workers,
            policy=settings.policy,
        )
    )
    engine.check_language(settings.language)
    engine.check_languages(settings.languages)
    return engine


def stream_options(settings: Settings, *, language: str, task: Task) -> StreamOptions:
    """What a stream is like: its own language and task, and the settings."""
    profile = PROFILES[settings.commit]
    if settings.window == "full":
        profile = padded(profile)
    if settings.policy == "localagreement":
        profile = agreeing(profile)
    if task == "translate":
        profile = translating(profile)
    return StreamOptions(
        language=language,
        languages=settings.languages,
        task=task,
        prompt=settings.initial_prompt,
        profile=profile,
    )
