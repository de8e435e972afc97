"""Both halves of a pair, loaded to make passes. Imports torch and CTranslate2."""

import logging

import torch
from threadpoolctl import threadpool_limits

from appliance.pair.decoder_weights import load_decoder_weights
from appliance.speech.config import EngineConfig
from appliance.speech.ct2_recognizer import Ct2Recognizer
from appliance.speech.decoder import TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.gpu import prove_gpu
from appliance.speech.linear import Precision, int8_available
from appliance.speech.recognizer import Recognizer
from appliance.speech.text import TextCodec

log = logging.getLogger(__name__)


def load(config: EngineConfig) -> Recognizer | Ct2Recognizer:
    """What makes passes as the config says; any number of threads may use it.

    Raises:
        ApplianceError: there is no such device, or something can't be loaded.
    """
    device = torch.device(config.device)
    if device.type == "cuda":
        gpu = prove_gpu(device)
        log.info("GPU: %s (%s)", gpu.name, gpu.architecture)
    # The turns are the parallelism: two passes on a core each beat one on both. And a thread of numpy's BLAS that
    # waits for more spins: with the features' small products that was 0.13 CPU seconds per second of audio.
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    by_search = config.policy == "localagreement"
    encoder = Encoder(
        config.pair.encoder_dir,
        config.pair.dimensions.n_mels,
        device=config.device,
        compute_type=config.compute_type,
        workers=config.turns,
        threads=1,
        decodes=by_search,
    )
    codec = TextCodec(config.pair.encoder_dir / "tokenizer.json", config.pair.dimensions)
    return Ct2Recognizer(encoder, codec) if by_search else Recognizer(encoder, _decoder(config), codec)


def _decoder(config: EngineConfig) -> TextDecoder:
    return TextDecoder(
        config.pair.dimensions,
        config.pair.alignment_heads,
        load_decoder_weights(config.pair),
        device=config.device,
        precision=_precision(torch.device(config.device)),
    )


def _precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "float16"
    return "int8" if int8_available() else "float32"
