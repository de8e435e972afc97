"""The accuracy of live streaming against batch decoding with the same weights."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import faster_whisper
import pytest

from appliance.pair.locate import Pair
from appliance.words import word_errors
from tests.conftest import Spoken
from tests.server.running import Running, committed, field_client, opened, pcm, pieces, updates

pytestmark = pytest.mark.model

CHUNK_S = 0.1


def stream_live(server: Running, spoken: Spoken) -> list[str]:
    """Committed text after each update, streamed at real-time pace as a client of the field does."""
    with opened(server, "?language=en") as socket:
        messages = field_client(socket, pieces(pcm(spoken.path), int(CHUNK_S * 32_000)), pace_s=CHUNK_S)
    return [committed(message) for message in updates(messages)]


def batch_errors(pair: Pair, librivox: tuple[Spoken, ...]) -> int:
    model = faster_whisper.WhisperModel(str(pair.encoder_dir), device="cpu", compute_type="int8")
    total = 0
    for spoken in librivox:
        segments, _ = model.transcribe(str(spoken.path), language="en", beam_size=5)
        total += word_errors(spoken.transcript, "".join(segment.text for segment in segments)).errors
    return total


def test_live_is_nearly_as_accurate_as_batch(server: Running, base_pair: Pair, librivox: tuple[Spoken, ...]) -> None:
    errors = words = 0
    for spoken in librivox:
        texts = stream_live(server, spoken)
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts)), texts
        found = word_errors(spoken.transcript, texts[-1])
        errors, words = errors + found.errors, words + found.words
    batch = batch_errors(base_pair, librivox)
    print(f"live {errors}, batch {batch} word errors of {words}")
    assert words == 71
    assert errors <= batch + 4


def test_two_live_clients_get_their_own_text(server: Running, librivox: tuple[Spoken, ...]) -> None:
    pair = (librivox[0], librivox[3])
    with ThreadPoolExecutor(2) as pool:
        heard = list(pool.map(lambda spoken: stream_live(server, spoken)[-1], pair))
    for spoken, text in zip(pair, heard, strict=True):
        assert word_errors(spoken.transcript, text).errors <= 4, text
