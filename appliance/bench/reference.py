"""What a stream is held against: batch decoding with the same weights, and its word times."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.recordings import AUTO, Recording, samples_of
from appliance.speech.audio.pcm import s16le

log = logging.getLogger(__name__)

BEAM = 5
COMPUTE_TYPE = "int8"


def batch_clips(recordings: Sequence[Recording], encoder_dir: Path) -> Iterator[Clip]:
    """Each recording with what faster-whisper hears in it, all audio at once: beam 5, VAD filter, int8, CPU.

    Args:
        encoder_dir: CTranslate2 folder; it holds the decoder too.

    Raises:
        ApplianceError: a recording can't be read.
    """
    from faster_whisper import WhisperModel  # seconds to import

    model = WhisperModel(str(encoder_dir), device="cpu", compute_type=COMPUTE_TYPE, local_files_only=True)
    for recording in recordings:
        samples = samples_of(recording)
        language = None if recording.language == AUTO else recording.language
        segments, _ = model.transcribe(
            samples, language=language, beam_size=BEAM, vad_filter=True, word_timestamps=True
        )
        words = [word for segment in segments for word in segment.words or ()]
        clip = Clip(
            name=recording.id,
            language=recording.language,
            pcm=s16le(samples),
            transcript=recording.transcript,
            batch="".join(word.word for word in words).strip(),
            words=tuple(SpokenWord(word.word.strip(), float(word.end)) for word in words),
        )
        log.info("batch: %s, %.1f s: %s", clip.name, clip.length_s, clip.batch[:80])
        yield clip
