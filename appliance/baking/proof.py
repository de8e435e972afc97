"""Proving on real speech that a derived half computes what its origin computes.

Both halves are run in float32 on the same input: a recording's log-mel features, and the tokens the
CTranslate2 model itself decodes from them, fed to both decoders. An error is the root mean square of
the differences over that of the origin's values: over every frame and channel of the encoder output,
and over every vocabulary entry at every decoded token. (The largest single difference says less: in
the silence after the speech, attention is so undecided that rounding alone moves single values by 1e-3.)
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from appliance.baking.tokenizer_files import Vocabulary
from appliance.baking.torch_encoder import encode
from appliance.errors import ApplianceError
from appliance.pair.checkpoint import Checkpoint
from appliance.pair.ct2_file import open_ct2
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import Pair
from appliance.speech.decoder import Row, TextDecoder

log = logging.getLogger(__name__)

TOLERANCE = 2e-4
"""Allowed error where the origin's weights are float16, so that deriving loses nothing. Measured on `base`: 5e-6 for
the encoder and 1e-6 for logits; two swapped rows of one matrix make 3e-4 to 1e-2. The room above the measured values
is for the rounding of models five times as deep."""

ROUNDING_TOLERANCE = 2e-2
"""Allowed error where the origin's weights are float32. Measured on `base`: a random change of every weight by up to
the precision of float16 makes 6e-3 for the encoder and 5e-4 for logits."""

_SAMPLES_PER_FRAME = 160
_MOST_TOKENS = 100
_FEWEST_TOKENS = 4

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was measured; ``encoder_error`` is ``None`` where the encoder is the origin itself."""

    derived: str
    tokens: int
    encoder_error: float | None
    logits_error: float
    same_tokens: bool
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.same_tokens and max(self.encoder_error or 0.0, self.logits_error) <= self.tolerance

    def __str__(self) -> str:
        encoder = "" if self.encoder_error is None else f"encoder error {self.encoder_error:.1e}, "
        tokens = "same" if self.same_tokens else "OTHER"
        return (
            f"derived {self.derived}: {encoder}logits error {self.logits_error:.1e} "
            f"(allowed: {self.tolerance:.0e}), {tokens} choices at {self.tokens} tokens"
        )


@dataclass(frozen=True, slots=True)
class _Ct2Run:
    """``states`` ``[frames, state]``; ``tokens`` the prompt and what was decoded; ``logits`` ``[decoded, vocabulary]``.

    The first row of ``logits`` follows the prompt, and the last one chose the end where decoding ended by itself.
    """

    states: Array
    prompt_length: int
    tokens: list[int]
    logits: Array


def prove(pair: Pair, vocabulary: Vocabulary, recording: Path, checkpoint: Checkpoint | None) -> Proof:
    """Run both halves on a recording of speech and compare.

    Args:
        pair: the halves as they lie on disk.
        checkpoint: the origin, where that is a ``.pt``; without it the CTranslate2 model is.

    Raises:
        ApplianceError: the halves disagree, or the recording gives too few tokens to prove anything.
    """
    mel = features(recording, pair)
    ct2 = _run_ct2(pair, mel, _prompt(pair, vocabulary))
    if len(ct2.logits) < _FEWEST_TOKENS:
        raise ApplianceError(
            f"{recording} proves nothing: {pair.name} decodes only {len(ct2.logits)} tokens from it",
            "use a recording with some seconds of speech",
            code="unproven_pair",
        )
    baked = _run_torch(pair, load_decoder_weights(pair), ct2)
    if checkpoint is None:
        exact = open_ct2(pair.encoder_dir / "model.bin").variable("decoder/embeddings/weight").dtype == "float16"
        proof = _compare("decoder", None, ct2.logits, [baked], exact=exact)
    else:
        states = encode(pair.dimensions, checkpoint.weights, torch.from_numpy(mel)).numpy()
        weights = {
            name.removeprefix("decoder."): weight
            for name, weight in checkpoint.weights.items()
            if name.startswith("decoder.")
        }
        origin = _run_torch(pair, weights, ct2)
        exact = all(weight.dtype == torch.float16 for weight in checkpoint.weights.values())
        error = relative_error(states, ct2.states)
        proof = _compare("CTranslate2 model and decoder", error, origin, [ct2.logits, baked], exact=exact)
    if not proof.passed:
        raise ApplianceError(
            f"the two halves of {pair.name} do not compute the same: {proof}",
            "the source is damaged or of another kind than Whisper; nothing was kept",
            code="unproven_pair",
        )
    return proof


def features(recording: Path, pair: Pair) -> Array:
    """Log-mel features ``[n_mels, 2 * n_audio_ctx]`` of a recording's start, padded with silence.

    Raises:
        ApplianceError: it can't be decoded.
    """
    from av.error import FFmpegError
    from faster_whisper.audio import decode_audio
    from faster_whisper.feature_extractor import FeatureExtractor

    frames = 2 * pair.dimensions.n_audio_ctx
    try:
        samples = decode_audio(str(recording))[: frames * _SAMPLES_PER_FRAME]
    except (FFmpegError, IndexError) as error:  # IndexError: a container without an audio stream
        raise ApplianceError(f"{recording} can't be decoded: {error}", "use a WAV file of speech") from error
    found = FeatureExtractor(feature_size=pair.dimensions.n_mels)(samples)[:, :frames]
    mel = np.zeros((pair.dimensions.n_mels, frames), np.float32)
    mel[:, : found.shape[1]] = found
    return mel


def relative_error(origin: NDArray[Any], other: NDArray[Any]) -> float:
    """Root mean square of the difference over that of ``origin``; infinite where either is not finite."""
    if origin.shape != other.shape or not (np.isfinite(origin).all() and np.isfinite(other).all()):
        return math.inf
    difference = np.subtract(origin, other, dtype=np.float64)
    scale = float(np.linalg.norm(origin.astype(np.float64)))
    return float(np.linalg.norm(difference)) / max(scale, 1e-12)


def _compare(derived: str, encoder_error: float | None, origin: Array, others: list[Array], *, exact: bool) -> Proof:
    return Proof(
        derived=derived,
        tokens=len(origin),
        encoder_error=encoder_error,
        logits_error=max(relative_error(origin, other) for other in others),
        same_tokens=all(bool((origin.argmax(-1) == other.argmax(-1)).all()) for other in others),
        tolerance=TOLERANCE if exact else ROUNDING_TOLERANCE,
    )


def _prompt(pair: Pair, vocabulary: Vocabulary) -> list[int]:
    texts = ["<|startoftranscript|>"]
    if pair.dimensions.is_multilingual:
        texts += ["<|en|>", "<|transcribe|>"]
    return [vocabulary.special_id(text) for text in (*texts, "<|notimestamps|>")]


def _run_ct2(pair: Pair, mel: Array, prompt: list[int]) -> _Ct2Run:
    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper

    model = Whisper(str(pair.encoder_dir), device="cpu", compute_type="float32")
    states = model.encode(StorageView.from_array(mel[None]), to_cpu=True)
    result = model.generate(
        states,
        [prompt],
        beam_size=1,
        suppress_tokens=None,
        suppress_blank=False,
        return_logits_vocab=True,
        max_length=min(_MOST_TOKENS, pair.dimensions.n_text_ctx - len(prompt)),
    )[0]
    logits = np.stack([np.array(step, dtype=np.float32).reshape(-1) for step in result.logits[0]])
    return _Ct2Run(np.array(states, dtype=np.float32)[0], len(prompt), prompt + result.sequences_ids[0], logits)


def _run_torch(pair: Pair, weights: Mapping[str, torch.Tensor], ct2: _Ct2Run) -> Array:
    """Logits of a PyTorch decoder where CTranslate2 gave its own: from the prompt's last token on."""
    decoder = TextDecoder(pair.dimensions, pair.alignment_heads, weights)  # float32, whatever the file's type
    first = ct2.prompt_length - 1
    [cache] = decoder.start([torch.from_numpy(ct2.states)])
    [step] = decoder.step([Row(cache, ct2.tokens, range(first, first + len(ct2.logits)))])
    found: Array = step.logits.numpy()
    return found
