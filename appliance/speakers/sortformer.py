"""NVIDIA's streaming Sortformer: up to four speakers, told apart by a network that hears who was heard before.

Method: Medennikov et al., "Streaming Sortformer: Speaker Cache-Based Online Speaker Diarization with Arrival-Time
Ordering", 2025. The network, its step and the state of a stream are NeMo's; ours is how streams come to it.

NeMo steps streams of any age together in its asynchronous mode, where each has lengths of its own. What the streams of
such a step share is how much context stands around the chunk: those at their beginning or end, which have less, are
stepped by themselves.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from appliance.errors import ApplianceError
from appliance.speakers.activity import Activity, Probabilities, Thresholds
from appliance.speakers.diarizer import DiarizerStream, SpeakerTurn
from appliance.speakers.nemo_features import FeatureStream
from appliance.speakers.nemo_file import SortformerModel, load_sortformer
from appliance.speakers.sortformer_config import FRAME_S, SortformerConfig
from appliance.speech.capacity import measured
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker

BATCH = 16
"""Streams of a step."""

ENROLLED_S = 2.0
"""Of one voice, at least, in a recording by which it is to be known."""

ENROLLED_MOST_S = 30.0
"""That are heard of such a recording."""

_FEATURES = 8
"""Frames of features to a frame of the answer."""

_STATE = ("spkcache", "spkcache_lengths", "spkcache_preds", "fifo", "fifo_lengths", "mean_sil_emb", "n_sil_frames")
"""What of NeMo's state outlives a step: tensors, their first dimension is the stream."""

_State = Mapping[str, torch.Tensor]
"""Of one stream."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What is heard of a stream in one step. ``left`` and ``right``: frames of features that are context."""

    features: torch.Tensor
    left: int
    right: int

    @property
    def frames(self) -> int:
        """Of the answer."""
        return -(-(len(self.features) - self.left - self.right) // _FEATURES)


class SortformerStream:
    """A `DiarizerStream`. What was fed and is not heard yet waits as it came; who feeds keeps that from growing."""

    def __init__(
        self,
        features: FeatureStream,
        config: SortformerConfig,
        state: _State,
        activity: Activity,
        voices: Mapping[int, str],
    ) -> None:
        """``voices``: names of the outputs that ``state`` has heard already."""
        self._features, self._config, self._activity, self._voices = features, config, activity, voices
        self._next = 0
        self.state = state

    @property
    def pending(self) -> bool:
        wanted = 1 if self._features.finished else (self._config.chunk + self._config.right) * _FEATURES
        return self._features.ready >= self._next + wanted

    @property
    def done(self) -> bool:
        return self._features.finished and not self.pending

    @property
    def decided_s(self) -> float:
        return self._features.received_s if self.done else self._activity.decided_s

    @property
    def turns(self) -> Sequence[SpeakerTurn]:
        return self._activity.turns(self.decided_s)

    @property
    def names(self) -> Mapping[Speaker, str]:
        numbers = self._activity.numbers
        return {numbers[output]: name for output, name in self._voices.items() if output in numbers}

    def feed(self, samples: Samples) -> None:
        self._features.feed(samples)

    def finish(self) -> None:
        self._features.finish()

    def chunk(self) -> _Chunk:
        """What is to be heard next. The last of a stream is as short as it comes, and has less after it."""
        end = self._next + self._config.chunk * _FEATURES
        stop = min(end + self._config.right * _FEATURES, self._features.ready)
        start = max(0, self._next - self._config.left * _FEATURES)
        return _Chunk(self._features.window(start, stop), self._next - start, max(0, stop - end))

    def take(self, probabilities: Probabilities, state: _State) -> None:
        """What the network says of that chunk, and how it goes on."""
        self._next += self._config.chunk * _FEATURES
        self._activity.take(probabilities)
        self.state = state


class Sortformer:
    """A `Diarizer`."""

    def __init__(self, model: SortformerModel, config: SortformerConfig, thresholds: Thresholds) -> None:
        self._model, self._config, self._thresholds = model, config, thresholds
        self._outputs = int(model.sortformer_modules.n_spk)
        empty = model.sortformer_modules.init_streaming_state(1, async_streaming=True, device=model.device)
        self._new_state = type(empty)
        self._state: _State = {name: getattr(empty, name) for name in _STATE}
        self._voices: dict[int, str] = {}

    @classmethod
    def load(cls, file: Path, config: SortformerConfig, device: str = "cpu") -> "Sortformer":
        """From NVIDIA's `.nemo` file.

        Raises:
            ApplianceError: NeMo is not installed, or the file is missing, damaged, or no streaming Sortformer.
        """
        return cls(load_sortformer(file, config, device), config, Thresholds())

    @property
    def batch(self) -> int:
        return BATCH

    def enrol(self, name: str, samples: Samples) -> None:
        """The voice is heard before each stream, and the output that it gets there has its name.

        Raises:
            ApplianceError: there is too little speech in it, it sounds like another one, or there are too many.
        """
        stream = self.open_stream(0)
        stream.feed(samples[: round(ENROLLED_MOST_S * SAMPLE_RATE_HZ)])
        stream.finish()
        spoken = torch.zeros(self._outputs)
        while stream.pending:
            spoken += (torch.from_numpy(self.hear([stream])[0]) >= self._thresholds.onset).sum(0)
        output = int(spoken.argmax())
        if spoken[output] * FRAME_S < ENROLLED_S:
            raise ApplianceError(
                f"{name}: too little speech to know the voice by: {spoken[output] * FRAME_S:.1f} s",
                f"record {ENROLLED_S:g} s or more of one voice",
            )
        if other := self._voices.get(output):
            raise ApplianceError(
                f"{name}: Sortformer can't tell this voice from {other}'s",
                f"it knows {self._outputs} voices at most; enrol others, or from other recordings",
            )
        self._voices[output] = name
        self._state = stream.state

    def open_stream(self, max_speakers: int) -> SortformerStream:
        features = FeatureStream(self._model.preprocessor, self._model.device)
        activity = Activity(self._outputs, FRAME_S, self._thresholds, max_speakers)
        return SortformerStream(features, self._config, self._state, activity, dict(self._voices))

    def cost(self) -> float:
        """Of streams whose cache and FIFO are full, as they are after half a minute."""
        most = {"spkcache_lengths": self._config.cache, "fifo_lengths": self._config.fifo}
        full = {**self._state, **{name: torch.full_like(self._state[name], of) for name, of in most.items()}}
        chunk_s = self._config.chunk * FRAME_S
        noise = np.random.default_rng(0).normal(0, 1e-3, round(60 * chunk_s * SAMPLE_RATE_HZ)).astype(np.float32)
        streams = [self.open_stream(0) for _ in range(self.batch)]
        for stream in streams:
            stream.state = full
            stream.feed(noise)
        return measured(lambda: self.hear(streams)) / self.batch / chunk_s

    def step(self, streams: Sequence[DiarizerStream]) -> None:
        ours = [stream for stream in streams if isinstance(stream, SortformerStream)]
        assert len(ours) == len(streams), "a stream of another diarizer"
        self.hear(ours)

    @torch.inference_mode()
    def hear(self, streams: Sequence[SortformerStream]) -> list[Probabilities]:
        """The next chunk of each, and what the network says of it."""
        chunks = [stream.chunk() for stream in streams]
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, chunk in enumerate(chunks):
            alike[chunk.left, chunk.right].append(index)
        heard: dict[int, Probabilities] = {}
        for (left, right), members in alike.items():
            state, answer = self._model.forward_streaming_step(
                pad_sequence([chunks[index].features for index in members], batch_first=True),
                torch.tensor([len(chunks[index].features) for index in members], device=self._model.device),
                self._together([streams[index].state for index in members]),
                torch.zeros((len(members), 0, self._outputs), device=self._model.device),
                left_offset=left,
                right_offset=right,
            )
            answers = answer.cpu().numpy()
            for row, index in enumerate(members):
                heard[index] = answers[row, : chunks[index].frames]
                streams[index].take(
                    heard[index], {name: getattr(state, name)[row : row + 1].clone() for name in _STATE}
                )
        return [heard[index] for index in range(len(streams))]

    def _together(self, states: Sequence[_State]) -> Any:
        """NeMo's state of several streams; a copy, for a step changes it."""
        state = self._new_state()
        for name in _STATE:
            setattr(state, name, torch.cat([each[name] for each in states]))
        return state
