"""The models, loaded once and shared by all sessions, and the threads that run them."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from appliance.errors import ApplianceError
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import Pair
from appliance.speech.decoder import TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.recognizer import Recognizer, Request
from appliance.speech.session import Session, SessionOptions
from appliance.speech.text import TextCodec
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

log = logging.getLogger(__name__)

_MAX_WORKERS = 2


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What to load, and on what to run it.

    ``workers``: passes that may run at once, each on its share of the cores; 0 chooses.
    """

    pair: Pair
    vad_file: Path
    device: str = "cpu"
    compute_type: str = "int8"
    workers: int = 0


class Engine:
    """Shared by all sessions of a process. Make it with `Engine.load`."""

    def __init__(self, recognizer: Recognizer, vad: VadModel, workers: int) -> None:
        self._recognizer = recognizer
        self._vad = vad
        self.executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="inference")
        """Where `Session.advance` runs. Each session has at most one call in it, so sessions bound its queue."""

    @classmethod
    def load(cls, config: EngineConfig) -> "Engine":
        """Load both halves and the voice activity model, and run the whole path once.

        Raises:
            ApplianceError: something can't be loaded, or the warm-up gave no sane result.
        """
        started = time.monotonic()
        cores = len(os.sched_getaffinity(0))
        workers = config.workers or max(1, min(_MAX_WORKERS, cores))
        threads = max(1, cores // workers)
        torch.set_num_threads(threads)
        device = torch.device(config.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ApplianceError(
                "no CUDA device can be used here: this PyTorch is built without it, or no GPU was handed in",
                "choose --device cpu (WLK_DEVICE), or run an image with CUDA and give it the GPU",
                code="no_gpu",
            )
        decoder = TextDecoder(config.pair.dimensions, config.pair.alignment_heads)
        decoder.load_state_dict(load_decoder_weights(config.pair))
        decoder = decoder.to(device, torch.float32 if device.type == "cpu" else torch.float16).eval()
        encoder = Encoder(
            config.pair.encoder_dir,
            config.pair.dimensions.n_mels,
            device=config.device,
            compute_type=config.compute_type,
            workers=workers,
            threads=threads,
        )
        codec = TextCodec(config.pair.encoder_dir / "tokenizer.json", config.pair.dimensions)
        engine = cls(Recognizer(encoder, decoder, codec), VadModel(config.vad_file), workers)
        engine.warm_up()
        log.info("%s ready in %.1f s (%d workers)", config.pair.name, time.monotonic() - started, workers)
        return engine

    @property
    def languages(self) -> tuple[str, ...]:
        return self._recognizer.codec.languages

    def open_session(self, options: SessionOptions) -> Session:
        """Begin a stream.

        Raises:
            ApplianceError: the model does not know the language.
        """
        self.check_language(options.language)
        return Session(self._recognizer, self._vad, options)

    def check_language(self, language: str) -> None:
        """Raise an `ApplianceError` unless ``language`` is "auto" or a code the model knows."""
        if language != "auto" and language not in self.languages:
            raise ApplianceError(
                f"unknown language: {language!r}",
                f"auto, or one of: {', '.join(self.languages)}",
                code="unsupported_language",
            )

    def warm_up(self) -> None:
        """Run voice activity, encoder and decoder once on quiet noise.

        Raises:
            ApplianceError: a result is not finite, so this build must not serve.
        """
        noise = np.random.default_rng(0).normal(0, 1e-3, 2 * SAMPLE_RATE_HZ).astype(np.float32)
        probability = VadStream(self._vad).probability(noise[:WINDOW_SAMPLES])
        hypothesis = self._recognizer.recognize(Request(window=noise))
        figures = np.array([probability, hypothesis.no_speech_probability, hypothesis.mean_log_probability])
        if not np.isfinite(figures).all():
            raise ApplianceError(
                "warm-up failed: the models gave no finite result",
                "the model files or this build are damaged; bake the pair again, or try another --compute-type",
                code="warm_up_failed",
            )

    def close(self) -> None:
        """Wait for the passes under way and let the threads end."""
        self.executor.shutdown(wait=True, cancel_futures=True)
