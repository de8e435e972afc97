from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import Pair
from appliance.speech.audio.file import decode_file
from appliance.speech.config import EngineConfig
from appliance.speech.decoder import TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.engine import Engine
from appliance.speech.recognizer import Recognizer
from appliance.speech.text import TextCodec
from appliance.speech.types import Samples
from tests.conftest import Spoken


@pytest.fixture(scope="session")
def engine(base_pair: Pair, vad_file: Path) -> Iterator[Engine]:
    loaded = Engine.load(EngineConfig(pair=base_pair, vad_file=vad_file))
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def codec(base_pair: Pair) -> TextCodec:
    return TextCodec(base_pair.encoder_dir / "tokenizer.json", base_pair.dimensions)


@pytest.fixture(scope="session")
def recognizer(base_pair: Pair, codec: TextCodec) -> Recognizer:
    """The real `base`, its decoder in float32: what is compared does not hang on rounding."""
    dimensions = base_pair.dimensions
    encoder = Encoder(
        base_pair.encoder_dir,
        dimensions.n_mels,
        device="cpu",
        compute_type="int8",
        workers=1,
        threads=1,
        decodes=True,
    )
    decoder = TextDecoder(dimensions, base_pair.alignment_heads, load_decoder_weights(base_pair))
    return Recognizer(encoder, decoder, codec)


@pytest.fixture(scope="session")
def speech(librivox: tuple[Spoken, ...]) -> list[Samples]:
    """The samples of the LibriVox recordings."""
    return [np.concatenate(list(decode_file(spoken.path))) for spoken in librivox]
