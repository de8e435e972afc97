"""The features that a network hears, of a stream as it comes: frame by frame what they would be of the whole."""

import threading
from collections import deque
from typing import Any

import numpy as np
import torch

from appliance.speech.types import SAMPLE_RATE_HZ, Samples


class FeatureStream:
    """Samples in, frames of NeMo's mel features out.

    A frame is made from the samples within half a window around its middle, and from one before these (its high tones
    are emphasised). So a piece is turned into features together with what lies before it, and a frame is ready as soon
    as what lies after it has come, or the stream is finished and silence follows.

    `feed` and `finish` may be called from any thread; all else is for one thread at a time.
    """

    def __init__(self, preprocessor: Any, device: torch.device) -> None:
        """``preprocessor``: NeMo's, which normalises nothing over time; on ``device``."""
        self._preprocessor, self._device = preprocessor, device
        self._hop = int(preprocessor.featurizer.hop_length)
        self._reach = int(preprocessor.featurizer.win_length) // 2
        self._before = -(-(self._reach + 1) // self._hop)
        self._lock = threading.Lock()
        self._pieces: deque[Samples] = deque()
        self._forgotten = self._received = 0
        self._finished = False
        self._made = torch.zeros((0, int(preprocessor.featurizer.nfilt)), device=device)
        self._first = 0

    def feed(self, samples: Samples) -> None:
        piece = np.array(samples, np.float32)
        with self._lock:
            self._pieces.append(piece)
            self._received += len(piece)

    def finish(self) -> None:
        self._finished = True

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def received_s(self) -> float:
        return self._received / SAMPLE_RATE_HZ

    @property
    def ready(self) -> int:
        """Frames, from the beginning of the stream."""
        ahead = 0 if self._finished else self._reach - self._hop
        return max(0, self._received - ahead) // self._hop

    def window(self, start: int, stop: int) -> torch.Tensor:
        """Frames from one to before another that is `ready`, shape ``(frames, mels)``; those before are forgotten."""
        made = self._first + len(self._made)
        if made < stop:
            first = max(0, made - self._before)
            samples = self._samples(first * self._hop, (stop - 1) * self._hop + self._reach)
            signal = torch.from_numpy(samples).to(self._device).unsqueeze(0)
            length = torch.tensor([len(samples)], device=self._device)
            frames = self._preprocessor(input_signal=signal, length=length)[0][0].T
            self._made = torch.cat([self._made, frames[made - first : stop - first]])
        self._made = self._made[start - self._first :]
        self._first = start
        return self._made[: stop - start]

    def _samples(self, start: int, stop: int) -> Samples:
        """Those from ``start`` on, at most to ``stop``; those before are forgotten."""
        with self._lock:
            while self._forgotten + len(self._pieces[0]) <= start:
                self._forgotten += len(self._pieces.popleft())
            parts, at = [], self._forgotten
            for piece in self._pieces:
                if at >= stop:
                    break
                parts.append(piece[max(0, start - at) : stop - at])
                at += len(piece)
        return np.concatenate(parts)
