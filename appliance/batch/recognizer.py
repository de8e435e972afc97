"""A file's samples to segments of text, by faster-whisper: silence left out, several windows at once."""

import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.vad import VadOptions, get_speech_timestamps

from appliance.batch.job import Heard, Job, Segment, Setup
from appliance.batch.length import limited
from appliance.batch.parts import PART_S, parts
from appliance.errors import ApplianceError
from appliance.speech.language import choose
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Word

log = logging.getLogger(__name__)

_BATCH = {"cpu": 4, "cuda": 16}
_PAUSE_MS = 160

LOOP_RATIO = 2.4
"""A text that can be packed better than this is taken for a loop, as Whisper's own program does, and heard again."""

_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class FileRecognizer:
    """The whole model, encoder and decoder, as CTranslate2 runs it; for one thread."""

    def __init__(self, setup: Setup) -> None:
        """Load it.

        Raises:
            ApplianceError: it can't be loaded.
        """
        try:
            self._model = WhisperModel(
                setup.encoder_dir,
                device=setup.device,
                compute_type=setup.compute_type,
                cpu_threads=setup.threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            log.error("%s can't be loaded: %s", setup.encoder_dir, error)
            raise ApplianceError(
                "the model could not be loaded for files",
                "is there memory for it a second time? the server's log says more; streams are served all the same",
                code="internal",
            ) from error
        # A folder says how many mels its model takes in a file of its own, which not every folder has.
        self._model.feature_extractor = FeatureExtractor(feature_size=self._model.model.n_mels)
        self._pipeline = BatchedInferencePipeline(self._model)
        self._batch = _BATCH[setup.device]

    def hear(self, samples: Iterable[Samples], job: Job) -> Iterator[Segment | Heard]:
        """Segments as they are found, then how much was heard.

        Raises:
            ApplianceError: code ``too_long``, or what decoding raises.
        """
        language = None if job.language == "auto" else job.language
        heard = 0
        for part in parts(limited(samples, job.max_s), _spoken, PART_S):
            if language is None and _spoken(part):
                language = self._language(part, job)
            if language is not None:
                for segment in self._segments(part, language, job):
                    yield _moved(segment, heard / SAMPLE_RATE_HZ)
            heard += part.size
        yield Heard(heard / SAMPLE_RATE_HZ, language)

    def _language(self, part: Samples, job: Job) -> str:
        if not self._model.model.is_multilingual:
            return "en"
        _, _, probabilities = self._model.detect_language(audio=part, vad_filter=True, vad_parameters=_pauses())
        return choose(dict(probabilities), tuple(job.languages))[0]

    def _segments(self, part: Samples, language: str, job: Job) -> Iterator[Segment]:
        options: dict[str, Any] = {
            "language": language,
            "task": job.task,
            "initial_prompt": job.prompt or None,
            "vad_filter": True,
            "word_timestamps": job.words,
        }
        if job.temperature > 0:  # sampled, which only one window after the other can be
            yield from self._one_by_one(part, (job.temperature,), options)
            return
        found, _ = self._pipeline.transcribe(part, batch_size=self._batch, without_timestamps=False, **options)
        for _, window in itertools.groupby(found, key=lambda segment: segment.seek):
            segments = [_segment(segment, len(part) / SAMPLE_RATE_HZ) for segment in window]
            if max(segment.compression_ratio for segment in segments) > LOOP_RATIO:
                first, last = (round(s * SAMPLE_RATE_HZ) for s in (segments[0].start_s, segments[-1].end_s))
                again = self._one_by_one(part[first:last], _TEMPERATURES, options)
                segments = [_moved(segment, segments[0].start_s) for segment in again]
            yield from (segment for segment in segments if segment.text.strip())

    def _one_by_one(
        self, audio: Samples, temperatures: tuple[float, ...], options: dict[str, Any]
    ) -> Iterator[Segment]:
        """Without batches: the first temperature that gives no loop is taken."""
        found, _ = self._model.transcribe(
            audio, temperature=temperatures, condition_on_previous_text=False, vad_parameters=_pauses(), **options
        )
        for segment in found:
            yield _segment(segment, len(audio) / SAMPLE_RATE_HZ)


def _spoken(samples: Samples) -> list[tuple[int, int]]:
    return [(found["start"], found["end"]) for found in get_speech_timestamps(samples, _pauses(pad_ms=0))]


def _pauses(pad_ms: int = 400) -> VadOptions:
    return VadOptions(min_silence_duration_ms=_PAUSE_MS, speech_pad_ms=pad_ms)


def _segment(found: Any, part_s: float) -> Segment:
    """One of faster-whisper's: its numbers are numpy's, and may lie a little after the end."""
    start_s = min(max(0.0, float(found.start)), part_s)
    return Segment(
        text=found.text,
        start_s=start_s,
        end_s=max(start_s, min(float(found.end), part_s)),
        tokens=tuple(map(int, found.tokens)),
        temperature=float(found.temperature or 0),
        mean_log_probability=float(found.avg_logprob),
        compression_ratio=float(found.compression_ratio),
        no_speech_probability=float(found.no_speech_prob),
        words=tuple(
            Word(word.word, float(word.start), float(word.end), float(word.probability)) for word in found.words or ()
        ),
    )


def _moved(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)
