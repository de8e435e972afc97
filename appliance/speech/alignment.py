"""Which moment of the audio a token speaks of, read off the decoder's cross-attention.

Method: AlignAtt as in Simul-Whisper (arXiv 2406.10052) and SimulStreaming (arXiv 2506.17077): the alignment
heads' weights are normalised over the tokens, median-filtered over time and averaged over the heads; the
frame with the largest weight is where the token was spoken.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MEDIAN_FRAMES = 7
"""Width of the median filter over time, as in the reference implementation's word timing."""


class AttendedFrames:
    """Collects attention rows of one decoding pass and tells the most attended frame of the newest token."""

    def __init__(self, heads: int, max_tokens: int, content_frames: int, device: torch.device) -> None:
        """Frames from ``content_frames`` on are padding and never count."""
        self._content = content_frames
        self._rows = torch.empty(heads, max_tokens, content_frames, device=device)
        self._count = 0

    @torch.inference_mode()
    def push(self, weights: Tensor) -> int:
        """Add rows of softmaxed weights ``[heads, n, frames]``.

        Returns:
            The frame (20 ms each, from the window's start) that the last row attends most.
        """
        last = self._count + weights.shape[1]
        self._rows[:, self._count : last] = weights[:, :, : self._content]
        self._count = last
        rows = self._rows[:, :last]
        newest = rows[:, -1]
        if last > 1:
            deviation, mean = torch.std_mean(rows, dim=1, correction=0)
            newest = (newest - mean) / (deviation + 1e-9)
        return int(_median_filter(newest).mean(0).argmax())


def _median_filter(rows: Tensor) -> Tensor:
    """Running median over the last dimension of ``[heads, frames]``, edges reflected."""
    reach = MEDIAN_FRAMES // 2
    if rows.shape[-1] <= reach:
        return rows
    padded = F.pad(rows[None], (reach, reach), mode="reflect")[0]
    return padded.unfold(-1, MEDIAN_FRAMES, 1).median(-1).values
