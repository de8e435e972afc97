"""How Sortformer goes through a stream, in frames of 80 ms. Knows no torch: the server's settings are checked by it."""

from dataclasses import dataclass

from appliance.errors import UsageError

FRAME_S = 0.08
"""What one frame of its answer covers: eight of its features'."""

SMALLEST_CACHE = 16
"""Frames of speaker cache with which each of four speakers has one of speech and three of silence."""


@dataclass(frozen=True, slots=True)
class SortformerConfig:
    """Lengths in frames; the defaults are NVIDIA's preset for low latency, who speaks is known after 1.04 s.

    ``chunk`` is decided at once, having heard ``left`` before and ``right`` after it. Decided frames go into the
    ``fifo``; once it is full, ``update`` of them go on into the speaker ``cache``, which keeps those that tell the
    speakers apart best. FIFO and cache are heard with each chunk.

    Raises:
        UsageError: they don't fit together.
    """

    chunk: int = 6
    left: int = 1
    right: int = 7
    fifo: int = 188
    cache: int = 188
    update: int = 144

    def __post_init__(self) -> None:
        if self.chunk < 1 or min(self.left, self.right, self.fifo) < 0 or self.cache < SMALLEST_CACHE:
            raise UsageError(
                f"Sortformer: {self}",
                f"a chunk has 1 frame or more, the cache {SMALLEST_CACHE} or more, and nothing less than 0",
            )
        if not self.chunk <= self.update <= self.fifo + self.chunk:
            raise UsageError(
                f"Sortformer: its cache is updated by {self.update} frames at once",
                f"from {self.chunk}, a chunk, to {self.fifo + self.chunk}, with the FIFO",
            )

    @property
    def delay_s(self) -> float:
        """From a sound to when it is known who speaks, at most, beside what the computation takes."""
        return (self.chunk + self.right) * FRAME_S
