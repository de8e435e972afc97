"""The models, loaded once and shared by all streams, and the threads that run them."""

import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from appliance.errors import ApplianceError
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import Pair
from appliance.speech import capacity
from appliance.speech.ct2_recognizer import Ct2Recognizer
from appliance.speech.decoder import TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.gpu import prove_gpu
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.linear import Precision, int8_available
from appliance.speech.live import OnSnapshot
from appliance.speech.profile import BALANCED, DecodingPolicy, Padding
from appliance.speech.recognizer import Recognizer
from appliance.speech.scheduler import OnTurn, Recognizes, Scheduler, Stream
from appliance.speech.session import Session, StreamOptions
from appliance.speech.text import TextCodec
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

log = logging.getLogger(__name__)

_BATCH = {"cpu": 4, "cuda": 16}
"""Passes decoded together: on a CPU each waits for the encoding of the others."""

_TYPICAL_WINDOW_S = 5
_TYPICAL_DRAFT = 15


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What to load, and on what to run it.

    ``compute_type``: the encoder's. ``workers``: turns that may run at once, each on its own core; 0 chooses.
    """

    pair: Pair
    vad_file: Path
    device: str = "cpu"
    compute_type: str = "int8"
    workers: int = 0
    policy: DecodingPolicy = "alignatt"


class Engine:
    """Shared by all streams of a process. Make it with `Engine.load`."""

    def __init__(self, recognizer: Recognizes, codec: TextCodec, vad: VadModel, *, workers: int, batch: int) -> None:
        self._recognizer = recognizer
        self._codec = codec
        self._vad = vad
        self.workers = workers
        self._batch = batch
        self._scheduler = Scheduler(recognizer, workers=workers, batch=batch)
        self.share = float(workers)
        """Of a worker's time, that a stream takes; measured by `warm_up`."""

    @classmethod
    def load(cls, config: EngineConfig) -> "Engine":
        """Load both halves and the voice activity model, and run the whole path once.

        Raises:
            ApplianceError: something can't be loaded, or the warm-up gave no sane result.
        """
        started = time.monotonic()
        device = torch.device(config.device)
        if device.type == "cuda":
            gpu = prove_gpu(device)
            log.info("GPU: %s (%s)", gpu.name, gpu.architecture)
        workers = config.workers or (len(os.sched_getaffinity(0)) if device.type == "cpu" else 1)
        # The workers are the parallelism: two passes on a core each beat one on both. And a thread of numpy's BLAS that
        # waits for more spins: with the features' small products that was 0.13 CPU seconds per second of audio.
        torch.set_num_threads(1)
        threadpool_limits(1, user_api="blas")
        encoder = Encoder(
            config.pair.encoder_dir,
            config.pair.dimensions.n_mels,
            device=config.device,
            compute_type=config.compute_type,
            workers=workers,
            threads=1,
            decodes=config.policy == "localagreement",
        )
        codec = TextCodec(config.pair.encoder_dir / "tokenizer.json", config.pair.dimensions)
        vad = VadModel(config.vad_file)
        recognizer: Recognizes
        if config.policy == "localagreement":
            recognizer = Ct2Recognizer(encoder, codec)
        else:
            recognizer = Recognizer(encoder, _decoder(config), codec)
        engine = cls(recognizer, codec, vad, workers=workers, batch=_BATCH[device.type])
        engine.warm_up()
        log.info(
            "%s ready in %.1f s: %d workers, a stream takes %.3f of one",
            config.pair.name, time.monotonic() - started, workers, engine.share,
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

    def watch(self, on_turn: OnTurn) -> None:
        """Call this after each turn, in a thread of the engine's; it must return at once."""
        self._scheduler.on_turn = on_turn

    @property
    def waiting(self) -> int:
        """How many streams wait for their turn."""
        return self._scheduler.waiting

    @property
    def turn_s(self) -> float:
        """How long the longest of the turns under way has taken so far."""
        return self._scheduler.turn_s

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
        probability = VadStream(self._vad).probability(_noise(1)[:WINDOW_SAMPLES])
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
        window = _noise(_TYPICAL_WINDOW_S)
        request = Request(
            window,
            padding.length(len(window)),
            draft=tuple(range(tokens)),
            firm=tokens,
            margin=math.inf,
            language=self._codec.languages[0],
            beam=beam,
        )
        return self._recognizer.recognize([request] * self._batch)

    def close(self) -> None:
        """Wait for the passes under way and let the threads end."""
        self._scheduler.close()


def _decoder(config: EngineConfig) -> TextDecoder:
    return TextDecoder(
        config.pair.dimensions,
        config.pair.alignment_heads,
        load_decoder_weights(config.pair),
        device=config.device,
        precision=_precision(torch.device(config.device)),
    )


def _precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "float16"
    return "int8" if int8_available() else "float32"


def _noise(seconds: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.random.default_rng(0).normal(0, 1e-3, seconds * SAMPLE_RATE_HZ).astype(np.float32)
