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
    """Collects the attention rows of one decoding pass and tells the most attended frame of the newest ones."""

    def __init__(self, content_frames: int) -> None:
        """Frames from ``content_frames`` on are padding and never count."""
        self._content = content_frames
        self._rows: Tensor | None = None

    @torch.inference_mode()
    def push(self, weights: Tensor, newest: int = 1) -> list[int]:
        """Add rows of softmaxed weights ``[heads, n, frames]``.

        Returns:
            For each of the ``newest`` last rows the frame (20 ms each, from the window's start) it attends most.
        """
        added = weights[:, :, : self._content]
        self._rows = rows = added if self._rows is None else torch.cat([self._rows, added], 1)
        wanted = rows[:, -newest:]
        if rows.shape[1] > 1:
            deviation, mean = torch.std_mean(rows, dim=1, correction=0, keepdim=True)
            wanted = (wanted - mean) / (deviation + 1e-9)
        frames: list[int] = _median_filter(wanted).mean(0).argmax(-1).tolist()
        return frames


def _median_filter(rows: Tensor) -> Tensor:
    """Running median over the last dimension of ``[heads, n, frames]``, edges reflected."""
    reach = MEDIAN_FRAMES // 2
    if rows.shape[-1] <= reach:
        return rows
    padded = F.pad(rows, (reach, reach), mode="reflect")
    return padded.unfold(-1, MEDIAN_FRAMES, 1).median(-1).values
