"""The decoder weights of a pair, whichever kind of file holds them."""

import torch
from safetensors.torch import load_file

from appliance.pair.checkpoint import open_checkpoint
from appliance.pair.locate import Pair

_PREFIX = "decoder."


def load_decoder_weights(pair: Pair) -> dict[str, torch.Tensor]:
    """Weights by the reference names without ``decoder.``, in the file's own float type, on the CPU.

    Raises:
        ApplianceError: the file is broken, or holds more than weights.
    """
    if pair.decoder_file.suffix == ".safetensors":
        return load_file(pair.decoder_file)
    checkpoint = open_checkpoint(pair.decoder_file, with_encoder=False)
    return {
        name.removeprefix(_PREFIX): weight for name, weight in checkpoint.weights.items() if name.startswith(_PREFIX)
    }
