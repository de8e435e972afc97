"""What all streams share: the process that makes their passes, and the threads that wait for it."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from appliance.errors import ApplianceError
from appliance.speech import capacity
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference.keeper import Keeper
from appliance.speech.inference.turns import Turns
from appliance.speech.live import OnSnapshot
from appliance.speech.profile import BALANCED, Padding
from appliance.speech.scheduler import OnTurn, Scheduler, Stream
from appliance.speech.session import Session, StreamOptions
from appliance.speech.text import TextCodec
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

log = logging.getLogger(__name__)

_BATCH = {"cpu": 4, "cuda": 16}
"""Passes decoded together: on a CPU each waits for the encoding of the others."""

_TYPICAL_WINDOW_S = 5
_TYPICAL_DRAFT = 15


class Engine:
    """Shared by all streams of a process. Make it with `Engine.load`."""

    def __init__(self, keeper: Keeper, codec: TextCodec, vad: VadModel, *, workers: int, batch: int) -> None:
        self._keeper = keeper
        self._codec = codec
        self._vad = vad
        self.workers = workers
        self._batch = batch
        self._turns = Turns(keeper)
        self._scheduler = Scheduler(self._turns, workers=workers, batch=batch)
        self.share = float(workers)
        """Of a worker's time, that a stream takes; measured by `warm_up`."""

    @classmethod
    def load(cls, config: EngineConfig) -> "Engine":
        """Load both halves, in a process of their own, and the voice activity model, and run the whole path once.

        Raises:
            ApplianceError: something can't be loaded, or the warm-up gave no sane result.
        """
        started = time.monotonic()
        threadpool_limits(1, user_api="blas")  # numpy's threads would spin here too
        with contextlib.ExitStack() as undo:
            keeper = Keeper(config)
            undo.callback(keeper.close)
            codec = TextCodec(config.pair.encoder_dir / "tokenizer.json", config.pair.dimensions)
            vad = VadModel(config.vad_file)
            keeper.wait_loaded()
            engine = cls(keeper, codec, vad, workers=config.turns, batch=_BATCH[config.device])
            engine.warm_up()
            undo.pop_all()
        log.info(
            "%s ready in %.1f s: %d workers, a stream takes %.3f of one",
            config.pair.name, time.monotonic() - started, config.turns, engine.share,
        )  # fmt: skip
        return engine

    @property
    def languages(self) -> tuple[str, ...]:
        return self._codec.languages

    def open_stream(self, options: StreamOptions, on_snapshot: OnSnapshot) -> Stream:
        """Begin a stream.

        Args:
            on_snapshot: called in a thread of the engine's whenever text changed, and with the final state; must
                return at once.

        Raises:
            ApplianceError: the model does not know the language.
        """
        self.check_language(options.language)
        self.check_languages(options.languages)
        return Stream(Session(self._codec, self._vad, options), self._scheduler, on_snapshot)

    def watch(self, on_turn: OnTurn, on_replaced: Callable[[], None]) -> None:
        """Call these after each turn, and each time that the process is replaced.

        In threads of the engine's; they must return at once.
        """
        self._scheduler.on_turn = on_turn
        self._keeper.on_replaced = on_replaced

    def on_failure(self, tell: Callable[[ApplianceError], None]) -> None:
        """Call this, in a thread of the engine's, once no pass can be made any more: all streams end with the error."""
        self._keeper.on_failure = tell

    @property
    def recovering(self) -> bool:
        """Whether the process that makes passes is gone, and another is being started; streams wait meanwhile."""
        return self._keeper.recovering

    @property
    def worker_pid(self) -> int:
        """Of the process that makes passes; 0 while there is none."""
        return self._keeper.pid

    @property
    def waiting(self) -> int:
        """How many streams wait for their turn."""
        return self._scheduler.waiting

    @property
    def still_s(self) -> float:
        """For how long nothing has come of inference.

        The longest of the turns under way, in the process that is there now; or by how much another one is overdue.
        """
        return max(min(self._scheduler.turn_s, self._keeper.age_s), self._keeper.overdue_s)

    def check_language(self, language: str) -> None:
        """Raise an `ApplianceError` unless ``language`` is "auto" or a code the model knows."""
        if language != "auto":
            self.check_languages([language])

    def check_languages(self, languages: Sequence[str]) -> None:
        """Raise an `ApplianceError` unless the model knows all of them."""
        for language in languages:
            if language not in self.languages:
                raise ApplianceError(
                    f"unknown language: {language!r}",
                    f"auto, or one of: {', '.join(self.languages)}",
                    code="unsupported_language",
                )

    def warm_up(self) -> None:
        """Run voice activity, encoder and decoder on quiet noise, and measure what a stream takes.

        Raises:
            ApplianceError: a result is not finite, so this build must not serve.
        """
        probability = VadStream(self._vad).probability(capacity.noise(WINDOW_SAMPLES))
        hypothesis = self._steps()[0]
        figures = np.array([probability, hypothesis.no_speech_probability, hypothesis.mean_log_probability])
        if not np.isfinite(figures).all():
            raise ApplianceError(
                "warm-up failed: the models gave no finite result",
                "the model files or this build are damaged; bake the pair again, or try another --compute-type",
                code="warm_up_failed",
            )
        step_s, end_s = (capacity.measured(turn) / self._batch for turn in (self._steps, self._ends))
        self.share = capacity.share(step_s, end_s)

    def _steps(self) -> list[Hypothesis]:
        """A full batch of passes over windows of the usual length, with most of their text known from before."""
        return self._typical_turn(BALANCED.step_padding, _TYPICAL_DRAFT, beam=1)

    def _ends(self) -> list[Hypothesis]:
        """A full batch of passes of the length in which texts run to their end, half of each text searched."""
        return self._typical_turn(BALANCED.end_padding, _TYPICAL_DRAFT // 2, beam=BALANCED.beam)

    def _typical_turn(self, padding: Padding, tokens: int, *, beam: int) -> list[Hypothesis]:
        """Passes over noise that find as many tokens as they are told to, whatever the model makes of noise."""
        window = capacity.noise(_TYPICAL_WINDOW_S * SAMPLE_RATE_HZ)
        request = Request(
            window,
            padding.length(len(window)),
            draft=tuple(range(tokens)),
            firm=tokens,
            margin=math.inf,
            language=self._codec.languages[0],
            beam=beam,
        )
        found = []
        for outcome in self._turns.recognize([request] * self._batch):
            if isinstance(outcome, ApplianceError):
                raise outcome
            found.append(outcome)
        return found

    def close(self) -> None:
        """Wait for the passes under way and let the process and the threads end."""
        self._keeper.retire()
        self._scheduler.close()
        self._keeper.close()
