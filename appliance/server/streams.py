"""From settings to what is loaded for streams, and to what each of them is asked for."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.journal.stream import JournalledStream
from appliance.journal.writer import Journal
from appliance.pair.locate import Pair
from appliance.server.models import compute_type
from appliance.server.settings import Settings
from appliance.speakers.diarizer import Diarizer
from appliance.speakers.load import DiarizerConfig, load_diarizer
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speakers.stream import SpeakerStream
from appliance.speech.capacity import streams
from appliance.speech.config import EngineConfig
from appliance.speech.engine import Engine
from appliance.speech.hypothesis import Task
from appliance.speech.live import LiveStream, OnSnapshot
from appliance.speech.profile import PROFILES, agreeing, padded, translating
from appliance.speech.session import StreamOptions

if TYPE_CHECKING:
    from appliance.translation.worker import Worker


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose stream it is, as the journal tells it: the session's name in the log, and the name of the token, if any."""

    session: str
    token: str


@dataclass(frozen=True, slots=True)
class Models:
    """All that is loaded for streams, once for all of them.

    ``on_cpu``: whether the engine is. ``speakers``: None where they are not told apart;
    ``translation``: None where nothing is translated; ``journal``: None where nothing is kept.
    """

    engine: Engine
    on_cpu: bool
    speakers: SpeakerScheduler | None = None
    translation: "Worker | None" = None
    journal: Journal | None = None

    @property
    def capacity(self) -> int:
        """How many streams at once this machine carries.

        What tells speakers apart works in one thread, and on a CPU in the same cores as the engine. Translation is not
        counted: it gives way.
        """
        cost = self.speakers.cost if self.speakers else 0.0
        beside = cost if self.on_cpu else 0.0
        carried = streams(self.engine.share + beside, self.engine.workers)
        return min(carried, streams(cost, 1)) if cost else carried

    @property
    def still_s(self) -> float:
        """For how long nothing has come of what streams wait for. (None waits for a translation for long.)"""
        return max(self.engine.still_s, self.speakers.step_s if self.speakers else 0.0)

    def open_stream(
        self,
        options: StreamOptions,
        on_snapshot: OnSnapshot,
        *,
        diarization: bool,
        target_language: str = "",
        origin: Origin | None = None,
    ) -> LiveStream:
        """Begin a stream.

        Args:
            diarization: with its speakers told apart, where they can be.
            target_language: with translations into it, where there are any; empty: without.
            origin: it is kept in the journal, where there is one; None: it is not.

        Raises:
            ApplianceError: a model does not know a language.
        """
        open_stream: Callable[[OnSnapshot], LiveStream] = partial(self.engine.open_stream, options)
        if diarization and self.speakers:
            open_stream = partial(SpeakerStream, open_stream, self.speakers)
        if target_language and self.translation:
            from appliance.translation.stream import translated  # nothing of it is imported where it is off

            open_stream = partial(translated, open_stream, self.translation, options, target_language)
        if origin and self.journal:
            about = {
                "token": origin.token,
                "language": options.language,
                "task": options.task,
                "diarization": bool(diarization and self.speakers),
                "target_language": target_language if self.translation else "",
            }
            open_stream = partial(JournalledStream, open_stream, self.journal.begin(origin.session, about))
        return open_stream(on_snapshot)

    def close(self) -> None:
        """Wait for what is under way and let the threads end. The journal is the service's to close."""
        self.engine.close()
        if self.speakers:
            self.speakers.close()
        if self.translation:
            self.translation.close()


def load_models(settings: Settings, pair: Pair, vad_file: Path, diarizer: DiarizerConfig | None) -> Models:
    """Load all of it as set. Takes seconds; of torch nothing is imported here unless speakers are told apart.

    Raises:
        ApplianceError: something can't be loaded, a language is set that a model does not know, or a voice can't be
            enrolled.
    """
    translation = load_translation(settings)
    with contextlib.ExitStack() as undo:
        engine = load_engine(settings, pair, vad_file)
        undo.callback(engine.close)
        speakers = SpeakerScheduler(_load_diarizer(diarizer), max_speakers=settings.max_speakers) if diarizer else None
        undo.pop_all()
    models = Models(engine, settings.device == "cpu", speakers, translation)
    log.info("this machine carries %d streams at once", models.capacity)
    return models


def _load_diarizer(config: DiarizerConfig) -> Diarizer:
    """In this process; threads that wait for others would spin, at the streams' cost."""
    import torch

    torch.set_num_threads(1)
    return load_diarizer(config)


def load_translation(settings: Settings) -> "Worker | None":
    """The translation model, where one is set. Takes seconds.

    Raises:
        ApplianceError: it can't be loaded, or a language is set that it does not know.
    """
    if not settings.translation_dir:
        return None
    from appliance.translation.translator import look
    from appliance.translation.worker import Worker

    files = look(settings.translation_dir)
    if settings.target_language:
        files.languages.check(settings.target_language)
    return Worker(files, settings.device)


def load_engine(settings: Settings, pair: Pair, vad_file: Path) -> Engine:
    """Load the models as set. Takes seconds.

    Raises:
        ApplianceError: something can't be loaded, or a language is set that the model does not know.
    """
    config = EngineConfig(
        pair=pair,
        vad_file=vad_file,
        device=settings.device,
        compute_type=compute_type(settings),
        workers=settings.workers,
        policy=settings.policy,
        step_timeout_s=settings.step_timeout_s,
    )
    with contextlib.ExitStack() as undo:
        engine = Engine.load(config)
        undo.callback(engine.close)
        engine.check_language(settings.language)
        engine.check_languages(settings.languages)
        undo.pop_all()
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
