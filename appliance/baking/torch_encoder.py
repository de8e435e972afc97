"""The Whisper audio encoder in PyTorch, for one purpose: to prove a CTranslate2 encoder made from a checkpoint.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). It
works straight from the mapped checkpoint and widens one layer at a time, so that the largest model
needs little memory.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from appliance.pair.dimensions import Dimensions


@torch.inference_mode()
def encode(dimensions: Dimensions, weights: Mapping[str, Tensor], mel: Tensor) -> Tensor:
    """Encode one window.

    Args:
        weights: reference names with ``encoder.``, any float type.
        mel: log-mel float32 ``[n_mels, 2 * n_audio_ctx]`` (100 frames a second).

    Returns:
        float32 ``[n_audio_ctx, n_audio_state]``, computed in float32.
    """

    def weight(name: str) -> Tensor:
        return weights[f"encoder.{name}"].float()

    x = F.gelu(F.conv1d(mel[None], weight("conv1.weight"), weight("conv1.bias"), padding=1))
    x = F.gelu(F.conv1d(x, weight("conv2.weight"), weight("conv2.bias"), stride=2, padding=1))
    x = x[0].T + weight("positional_embedding")
    for layer in range(dimensions.n_audio_layer):
        block = {
            name.removeprefix(f"encoder.blocks.{layer}."): tensor.float()
            for name, tensor in weights.items()
            if name.startswith(f"encoder.blocks.{layer}.")
        }
        x = x + _attend(block, _norm(x, block, "attn_ln"), dimensions.n_audio_head)
        hidden = F.gelu(F.linear(_norm(x, block, "mlp_ln"), block["mlp.0.weight"], block["mlp.0.bias"]))
        x = x + F.linear(hidden, block["mlp.2.weight"], block["mlp.2.bias"])
    return F.layer_norm(x, x.shape[-1:], weight("ln_post.weight"), weight("ln_post.bias"))


def _norm(x: Tensor, block: Mapping[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], block[f"{name}.weight"], block[f"{name}.bias"])


def _attend(block: Mapping[str, Tensor], x: Tensor, heads: int) -> Tensor:
    def project(name: str) -> Tensor:
        """``[frames, state]`` to ``[heads, frames, head width]``."""
        projected = F.linear(x, block[f"attn.{name}.weight"], block.get(f"attn.{name}.bias"))
        return projected.view(x.shape[0], heads, -1).transpose(0, 1)

    mixed = F.scaled_dot_product_attention(project("query"), project("key"), project("value"))
    return F.linear(mixed.transpose(0, 1).flatten(1), block["attn.out.weight"], block["attn.out.bias"])
