"""The light diarizer: speech by the VAD, voices by CAM++, speakers by online clustering. One thread, no GPU.

Its model is one file, ``campplus`` of the manifest; in images it is ``/models/diarizer/campplus.pt``.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from appliance.errors import ApplianceError
from appliance.speakers.campplus import load_campplus
from appliance.speakers.clustering import Clustering, Stretch, Vector
from appliance.speakers.diarizer import REVISION_S, DiarizerStream, SpeakerTurn
from appliance.speakers.features import log_mel
from appliance.speakers.windows import HEARD_SAMPLES, HOP_SAMPLES, SpeechWindows, Window
from appliance.speech.capacity import measured
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker
from appliance.speech.vad import VadModel

LEAST_ENROLLED_S = 3.0
"""Speech that a voice is enrolled from, at least."""

KEPT_S = 60.0
"""Turns of the last minute are kept."""


class EmbeddingDiarizer:
    """The loaded models; satisfies `appliance.speakers.diarizer.Diarizer`."""

    batch = 8

    def __init__(self, file: Path, vad: VadModel) -> None:
        """Load the voice model.

        Raises:
            ApplianceError: the file is missing, or is not one.
        """
        self._model = load_campplus(file)
        self._vad = vad
        self._enrolled: dict[str, Vector] = {}

    def enrol(self, name: str, samples: Samples) -> None:
        speech = SpeechWindows(self._vad)
        speech.feed(samples)
        speech.finish()
        windows: list[Window] = []
        while not speech.done:
            windows += speech.advance()
        stretches = [stretch for stretch in self._stretches(windows) if stretch.trusted]
        if sum(stretch.length_s for stretch in stretches) < LEAST_ENROLLED_S:
            raise ApplianceError(
                f"there is too little speech to know the voice of {name} by",
                f"record {LEAST_ENROLLED_S:.0f} s of speech or more; 10 s are better",
                code="bad_setting",
            )
        self._enrolled[name] = np.mean([stretch.voice for stretch in stretches], axis=0)

    def open_stream(self, max_speakers: int) -> "EmbeddingStream":
        return EmbeddingStream(SpeechWindows(self._vad), Clustering(max_speakers, self._enrolled))

    def cost(self) -> float:
        noise = np.random.default_rng(0).normal(0, 1e-3, HEARD_SAMPLES).astype(np.float32)
        windows = [Window(noise, 0, HEARD_SAMPLES)] * self.batch
        return measured(lambda: self._stretches(windows)) / self.batch * SAMPLE_RATE_HZ / HOP_SAMPLES

    def step(self, streams: Sequence[DiarizerStream]) -> None:
        ours = [stream for stream in streams if isinstance(stream, EmbeddingStream)]
        windows = [stream.speech.advance() for stream in ours]
        stretches = iter(self._stretches([window for those in windows for window in those]))
        for stream, those in zip(ours, windows, strict=True):
            stream.take([next(stretches) for _ in those])

    def _stretches(self, windows: Sequence[Window]) -> list[Stretch]:
        """The windows with their voices; those of one length are heard together."""

        def length(index: int) -> int:
            return len(windows[index].samples)

        voices: dict[int, Vector] = {}
        for _, same in groupby(sorted(range(len(windows)), key=length), key=length):
            group = list(same)
            for first in range(0, len(group), self.batch):
                part = group[first : first + self.batch]
                heard = self._model.embed(np.stack([log_mel(windows[index].samples) for index in part]))
                voices.update(zip(part, heard, strict=True))
        return [_stretch(window, voices[index]) for index, window in enumerate(windows)]


class EmbeddingStream:
    """The state of one stream; satisfies `appliance.speakers.diarizer.DiarizerStream`."""

    def __init__(self, speech: SpeechWindows, clustering: Clustering) -> None:
        self.speech = speech
        self._clustering = clustering
        self._settled: list[Stretch] = []
        self._turns: tuple[SpeakerTurn, ...] = ()
        self._decided_s = 0.0

    @property
    def pending(self) -> bool:
        return self.speech.pending

    @property
    def done(self) -> bool:
        return self.speech.done

    @property
    def decided_s(self) -> float:
        return self._decided_s

    @property
    def turns(self) -> Sequence[SpeakerTurn]:
        return self._turns

    @property
    def names(self) -> Mapping[Speaker, str]:
        return self._clustering.names

    def feed(self, samples: Samples) -> None:
        self.speech.feed(samples)

    def finish(self) -> None:
        self.speech.finish()

    def take(self, stretches: Sequence[Stretch]) -> None:
        """The voices of what `speech` gave last."""
        self._settled += self._clustering.settle(self._decided_s - REVISION_S)
        if stretches:
            self._clustering.add(stretches)
        self._decided_s = self.speech.decided / SAMPLE_RATE_HZ
        self._settled = [stretch for stretch in self._settled if stretch.end_s > self._decided_s - KEPT_S]
        self._turns = _turns([*self._settled, *self._clustering.recent])


def _stretch(window: Window, voice: Vector) -> Stretch:
    return Stretch(
        window.start / SAMPLE_RATE_HZ, window.end / SAMPLE_RATE_HZ, voice, len(window.samples) / SAMPLE_RATE_HZ
    )


def _turns(stretches: Sequence[Stretch]) -> tuple[SpeakerTurn, ...]:
    """What follows without a pause, by one speaker, is one turn."""
    turns: list[SpeakerTurn] = []
    for stretch in stretches:
        before = turns[-1] if turns else None
        if before and before.speaker == stretch.speaker and before.end_s == stretch.start_s:
            turns[-1] = SpeakerTurn(stretch.speaker, before.start_s, stretch.end_s)
        else:
            turns.append(SpeakerTurn(stretch.speaker, stretch.start_s, stretch.end_s))
    return tuple(turns)
