from pathlib import Path

import numpy as np
import pytest
import torch
from ctranslate2.specs import WhisperSpec

from appliance.baking.derive import checkpoint_from_ct2, decoder_from_ct2, fill_spec, halves, to_half, write_ct2
from appliance.baking.tokenizer_files import Vocabulary
from appliance.errors import ApplianceError
from appliance.pair.checkpoint import open_checkpoint
from appliance.pair.ct2_file import open_ct2
from appliance.pair.weight_names import decoder_shapes, decoder_stacks, encoder_shapes, encoder_stacks
from tests.pair.models import SMALL, make_weights


def test_table_names_every_weight_once() -> None:
    named = [part for stack in (*encoder_stacks(SMALL), *decoder_stacks(SMALL)) for part in stack.parts if part]
    wanted = [f"encoder.{name}" for name in encoder_shapes(SMALL)] + [
        f"decoder.{name}" for name in decoder_shapes(SMALL)
    ]
    assert sorted(named) == sorted(wanted)


def test_table_names_every_variable_ctranslate2_wants() -> None:
    spec = WhisperSpec(SMALL.n_audio_layer, SMALL.n_audio_head, SMALL.n_text_layer, SMALL.n_text_head)
    required = {name for name, value in spec.variables().items() if value is None}
    named = {stack.ct2 for stack in (*encoder_stacks(SMALL), *decoder_stacks(SMALL))}
    assert required - named == {"decoder/projection/weight"}


def test_there_and_back_is_exact(small_ct2: Path) -> None:
    back = checkpoint_from_ct2(open_ct2(small_ct2))
    origin = make_weights(SMALL)
    assert back.keys() == origin.keys()
    for name, weight in origin.items():
        np.testing.assert_array_equal(back[name], weight, name)


def test_decoder_has_decoder_weights_only(small_ct2: Path) -> None:
    weights = decoder_from_ct2(open_ct2(small_ct2))
    assert {name: half.shape for name, half in weights.items()} == decoder_shapes(SMALL)
    assert {half.dtype for half in weights.values()} == {np.dtype(np.float16)}


def test_writing_twice_gives_the_same_bytes(tmp_path: Path, vocabulary: Vocabulary, small_ct2: Path) -> None:
    write_ct2(tmp_path, SMALL, make_weights(SMALL), vocabulary.texts)
    assert (tmp_path / "model.bin").read_bytes() == small_ct2.read_bytes()


def test_float32_checkpoint_is_rounded(tmp_path: Path) -> None:
    weights = make_weights(SMALL)
    state = {name: torch.from_numpy(half.astype(np.float32)) for name, half in weights.items()}
    path = tmp_path / "float32.pt"
    torch.save({"dims": SMALL.as_dict(), "model_state_dict": state}, path)
    for name, half in halves(open_checkpoint(path, with_encoder=True)).items():
        np.testing.assert_array_equal(half, weights[name], name)


def test_values_beyond_float16_are_refused() -> None:
    with pytest.raises(ApplianceError, match="not finite in float16"):
        to_half(np.array([1.0, 1e6], np.float32), "x")
    with pytest.raises(ApplianceError, match="not finite in float16"):
        to_half(np.array([np.nan], np.float16), "x")


def test_quantized_model_is_refused(tmp_path: Path, vocabulary: Vocabulary) -> None:
    spec = fill_spec(SMALL, make_weights(SMALL), vocabulary.texts)
    spec.optimize(quantization="int8")
    spec.save(str(tmp_path))
    path = tmp_path / "model.bin"
    assert open_ct2(path).dimensions() == SMALL, "a quantized encoder still has its dimensions"
    with pytest.raises(ApplianceError, match="is int8: a quantized model"):
        decoder_from_ct2(open_ct2(path))


def test_key_bias_is_refused(small_ct2: Path, tmp_path: Path) -> None:
    name = "decoder/layer_0/self_attention/linear_0/bias"
    content = bytearray(small_ct2.read_bytes())
    place = open_ct2(small_ct2).variable(name)
    content[place.offset + 128 * 2 : place.offset + 128 * 2 + 2] = np.float16(0.5).tobytes()
    changed = tmp_path / "model.bin"
    changed.write_bytes(content)
    with pytest.raises(ApplianceError, match=f"{name} has key biases"):
        decoder_from_ct2(open_ct2(changed))
