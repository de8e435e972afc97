"""The sizes that make two Whisper halves fit each other."""

from dataclasses import asdict, dataclass

HEAD_WIDTH = 64
"""Width of one attention head in every published Whisper model."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a Whisper model, under the names the reference checkpoints use (``n_mels`` counts mel bands)."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary has language tokens (English-only models have 51864 entries)."""
        return self.n_vocab >= 51865
