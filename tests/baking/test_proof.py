import math
from pathlib import Path

import numpy as np
import pytest

from appliance.baking.derive import Half, write_ct2
from appliance.baking.proof import TOLERANCE, prove, relative_error
from appliance.baking.tokenizer_files import Vocabulary, write_tokenizer_files
from appliance.errors import ApplianceError
from appliance.pair.checkpoint import open_checkpoint
from appliance.pair.decoder_file import FILE_NAME, write_decoder
from appliance.pair.locate import open_pair
from tests.pair.models import HEADS, SMALL, make_weights, save_checkpoint

Folders = tuple[Path, Path]


def decoder_part(weights: dict[str, Half]) -> dict[str, Half]:
    return {name.removeprefix("decoder."): half for name, half in weights.items() if name.startswith("decoder.")}


def swapped(weights: dict[str, Half], name: str) -> dict[str, Half]:
    """The same weights with the first two rows of one exchanged."""
    changed = weights[name].copy()
    changed[[0, 1]] = changed[[1, 0]]
    return weights | {name: changed}


def test_relative_error() -> None:
    origin = np.array([[3.0, 4.0]], np.float32)
    assert relative_error(origin, origin) == 0
    assert relative_error(origin, origin * 1.1) == pytest.approx(0.1)
    assert relative_error(origin, origin * np.nan) == math.inf
    assert relative_error(origin, origin[:, :1]) == math.inf


def test_derived_decoder_agrees(small_pair: Folders, vocabulary: Vocabulary, noise: Path) -> None:
    proof = prove(open_pair(*small_pair), vocabulary, noise, None)
    assert proof.passed
    assert proof.encoder_error is None
    assert proof.logits_error < TOLERANCE / 5
    assert proof.tokens >= 4


def test_derived_ctranslate2_model_agrees(
    small_pair: Folders, small_pt: Path, vocabulary: Vocabulary, noise: Path
) -> None:
    proof = prove(open_pair(*small_pair), vocabulary, noise, open_checkpoint(small_pt, with_encoder=True))
    assert proof.passed
    assert proof.encoder_error is not None
    assert proof.encoder_error < TOLERANCE / 5


@pytest.mark.parametrize(
    "name",
    [
        "decoder.blocks.0.attn.key.weight",
        "decoder.blocks.1.cross_attn.value.weight",
        "decoder.blocks.2.mlp.2.weight",
        "decoder.positional_embedding",
    ],
)
def test_permuted_decoder_weight_fails(small_pair: Folders, vocabulary: Vocabulary, noise: Path, name: str) -> None:
    encoder, decoder = small_pair
    write_decoder(decoder / FILE_NAME, decoder_part(swapped(make_weights(SMALL), name)))
    with pytest.raises(ApplianceError, match="do not compute the same") as caught:
        prove(open_pair(encoder, decoder), vocabulary, noise, None)
    assert caught.value.code == "unproven_pair"


@pytest.mark.parametrize("name", ["encoder.conv1.weight", "encoder.blocks.1.attn.query.weight", "encoder.ln_post.bias"])
def test_permuted_encoder_weight_fails(
    small_pair: Folders, small_pt: Path, vocabulary: Vocabulary, noise: Path, name: str
) -> None:
    encoder, decoder = small_pair
    write_ct2(encoder, SMALL, swapped(make_weights(SMALL), name), vocabulary.texts)
    write_tokenizer_files(encoder, vocabulary, SMALL, HEADS)
    with pytest.raises(ApplianceError, match="do not compute the same"):
        prove(open_pair(encoder, decoder), vocabulary, noise, open_checkpoint(small_pt, with_encoder=True))


def test_query_taken_for_key_fails(small_pair: Folders, vocabulary: Vocabulary, noise: Path) -> None:
    encoder, decoder = small_pair
    weights = decoder_part(make_weights(SMALL))
    query, key = "blocks.0.attn.query.weight", "blocks.0.attn.key.weight"
    write_decoder(decoder / FILE_NAME, weights | {query: weights[key], key: weights[query]})
    with pytest.raises(ApplianceError, match="do not compute the same"):
        prove(open_pair(encoder, decoder), vocabulary, noise, None)


def test_checkpoint_of_float32_is_allowed_its_rounding(
    small_pair: Folders, tmp_path: Path, vocabulary: Vocabulary, noise: Path
) -> None:
    import torch

    random = np.random.default_rng(3)
    state = {
        name: torch.from_numpy(
            half.astype(np.float32) * (1 + random.uniform(-1e-4, 1e-4, half.shape).astype(np.float32))
        )
        for name, half in make_weights(SMALL).items()
    }
    path = tmp_path / "float32.pt"
    torch.save({"dims": SMALL.as_dict(), "model_state_dict": state}, path)
    proof = prove(open_pair(*small_pair), vocabulary, noise, open_checkpoint(path, with_encoder=True))
    assert proof.tolerance > TOLERANCE


def test_recording_that_cannot_be_read(small_pair: Folders, tmp_path: Path, vocabulary: Vocabulary) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio at all")
    with pytest.raises(ApplianceError, match=r"broken\.wav"):
        prove(open_pair(*small_pair), vocabulary, broken, None)


def test_saved_checkpoint_is_what_was_made(tmp_path: Path) -> None:
    weights = make_weights(SMALL)
    checkpoint = open_checkpoint(save_checkpoint(tmp_path / "x.pt", SMALL, weights), with_encoder=True)
    np.testing.assert_array_equal(checkpoint.weights["decoder.ln.bias"].numpy(), weights["decoder.ln.bias"])
