"""From settings to what the engine and its streams are asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

from appliance.pair.locate import Pair
from appliance.server.models import compute_type
from appliance.server.settings import Settings
from appliance.speech.hypothesis import Task
from appliance.speech.profile import PROFILES, agreeing, padded, translating
from appliance.speech.session import StreamOptions

if TYPE_CHECKING:
    from appliance.speech.engine import Engine


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
