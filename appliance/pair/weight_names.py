"""How the weights of the reference checkpoint and of a CTranslate2 Whisper model correspond.

CTranslate2 stacks query, key and value of self-attention in one matrix, and key and value of
cross-attention in another; biases of keys do not exist in the reference model and are zeros there.
One table serves both directions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.pair.dimensions import Dimensions

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """One CTranslate2 variable and the reference weights stacked in it along the first axis, in order.

    A part of ``None`` is a block of zeros the reference model has no name for.
    """

    ct2: str
    parts: tuple[str | None, ...]


def decoder_shapes(dimensions: Dimensions) -> dict[str, Shape]:
    """Every decoder weight by its reference name without ``decoder.``, and its shape."""
    state = dimensions.n_text_state
    shapes: dict[str, Shape] = {
        "token_embedding.weight": (dimensions.n_vocab, state),
        "positional_embedding": (dimensions.n_text_ctx, state),
        "ln.weight": (state,),
        "ln.bias": (state,),
    }
    for layer in range(dimensions.n_text_layer):
        shapes |= _block_shapes(f"blocks.{layer}", state, cross=True)
    return shapes


def encoder_shapes(dimensions: Dimensions) -> dict[str, Shape]:
    """Every encoder weight by its reference name without ``encoder.``, and its shape."""
    state = dimensions.n_audio_state
    shapes: dict[str, Shape] = {
        "conv1.weight": (state, dimensions.n_mels, 3),
        "conv1.bias": (state,),
        "conv2.weight": (state, state, 3),
        "conv2.bias": (state,),
        "positional_embedding": (dimensions.n_audio_ctx, state),
        "ln_post.weight": (state,),
        "ln_post.bias": (state,),
    }
    for layer in range(dimensions.n_audio_layer):
        shapes |= _block_shapes(f"blocks.{layer}", state, cross=False)
    return shapes


def decoder_stacks(dimensions: Dimensions) -> Iterator[Stack]:
    """The decoder half of the table, reference names with ``decoder.``."""
    yield Stack("decoder/embeddings/weight", ("decoder.token_embedding.weight",))
    yield Stack("decoder/position_encodings/encodings", ("decoder.positional_embedding",))
    yield from _norm("decoder/layer_norm", "decoder.ln")
    for layer in range(dimensions.n_text_layer):
        ct2, ours = f"decoder/layer_{layer}", f"decoder.blocks.{layer}"
        yield from _own_attention(ct2, ours)
        yield from _norm(f"{ct2}/attention/layer_norm", f"{ours}.cross_attn_ln")
        yield from _linear(f"{ct2}/attention/linear_0", f"{ours}.cross_attn.query")
        yield from _key_value(f"{ct2}/attention/linear_1", f"{ours}.cross_attn")
        yield from _linear(f"{ct2}/attention/linear_2", f"{ours}.cross_attn.out")
        yield from _feed_forward(ct2, ours)


def encoder_stacks(dimensions: Dimensions) -> Iterator[Stack]:
    """The encoder half of the table, reference names with ``encoder.``."""
    for conv in ("conv1", "conv2"):
        yield from _linear(f"encoder/{conv}", f"encoder.{conv}")
    yield Stack("encoder/position_encodings/encodings", ("encoder.positional_embedding",))
    yield from _norm("encoder/layer_norm", "encoder.ln_post")
    for layer in range(dimensions.n_audio_layer):
        ct2, ours = f"encoder/layer_{layer}", f"encoder.blocks.{layer}"
        yield from _own_attention(ct2, ours)
        yield from _feed_forward(ct2, ours)


def _block_shapes(block: str, state: int, *, cross: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for attention in ("attn", "cross_attn") if cross else ("attn",):
        for linear in ("query", "key", "value", "out"):
            shapes[f"{block}.{attention}.{linear}.weight"] = (state, state)
            if linear != "key":
                shapes[f"{block}.{attention}.{linear}.bias"] = (state,)
        shapes |= {f"{block}.{attention}_ln.weight": (state,), f"{block}.{attention}_ln.bias": (state,)}
    return shapes | {
        f"{block}.mlp.0.weight": (4 * state, state),
        f"{block}.mlp.0.bias": (4 * state,),
        f"{block}.mlp.2.weight": (state, 4 * state),
        f"{block}.mlp.2.bias": (state,),
        f"{block}.mlp_ln.weight": (state,),
        f"{block}.mlp_ln.bias": (state,),
    }


def _linear(ct2: str, ours: str) -> Iterator[Stack]:
    yield Stack(f"{ct2}/weight", (f"{ours}.weight",))
    yield Stack(f"{ct2}/bias", (f"{ours}.bias",))


def _norm(ct2: str, ours: str) -> Iterator[Stack]:
    yield Stack(f"{ct2}/gamma", (f"{ours}.weight",))
    yield Stack(f"{ct2}/beta", (f"{ours}.bias",))


def _key_value(ct2: str, ours: str) -> Iterator[Stack]:
    yield Stack(f"{ct2}/weight", (f"{ours}.key.weight", f"{ours}.value.weight"))
    yield Stack(f"{ct2}/bias", (None, f"{ours}.value.bias"))


def _own_attention(ct2: str, ours: str) -> Iterator[Stack]:
    yield from _norm(f"{ct2}/self_attention/layer_norm", f"{ours}.attn_ln")
    attention = f"{ours}.attn"
    yield Stack(
        f"{ct2}/self_attention/linear_0/weight",
        (f"{attention}.query.weight", f"{attention}.key.weight", f"{attention}.value.weight"),
    )
    yield Stack(f"{ct2}/self_attention/linear_0/bias", (f"{attention}.query.bias", None, f"{attention}.value.bias"))
    yield from _linear(f"{ct2}/self_attention/linear_1", f"{attention}.out")


def _feed_forward(ct2: str, ours: str) -> Iterator[Stack]:
    yield from _norm(f"{ct2}/ffn/layer_norm", f"{ours}.mlp_ln")
    yield from _linear(f"{ct2}/ffn/linear_0", f"{ours}.mlp.0")
    yield from _linear(f"{ct2}/ffn/linear_1", f"{ours}.mlp.2")
