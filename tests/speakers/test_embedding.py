"""The light diarizer with its real weights, on recordings of two readers."""

from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.manifest import Manifest
from appliance.speakers.embedding import EmbeddingDiarizer, EmbeddingStream
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker
from appliance.speech.vad import VadModel
from appliance.store import Store
from appliance.talks.conversations import Conversation, cut_turns, join
from appliance.talks.measure import Talk, measure
from tests.conftest import Spoken, fetched

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def vad(vad_file: Path) -> VadModel:
    return VadModel(vad_file)


@pytest.fixture(scope="module")
def diarizer(manifest: Manifest, store: Store, vad: VadModel) -> EmbeddingDiarizer:
    return EmbeddingDiarizer(fetched(manifest.asset("campplus"), store), vad)


@pytest.fixture(scope="module")
def prose(librivox: tuple[Spoken, ...]) -> Samples:
    return np.concatenate([piece for one in librivox for piece in decode_file(one.path)])


@pytest.fixture(scope="module")
def verse(manifest: Manifest, store: Store) -> Samples:
    return np.concatenate(list(decode_file(fetched(manifest.recording("sonnet-1"), store))))


@pytest.fixture(scope="module")
def conversation(prose: Samples, verse: Samples, vad: VadModel) -> Conversation:
    return join({"prose": cut_turns(prose, vad), "verse": cut_turns(verse, vad)}, 60, seed=1)


def all_of(diarizer: EmbeddingDiarizer, stream: EmbeddingStream, samples: Samples, piece: int = 1600) -> None:
    for start in range(0, len(samples), piece):
        stream.feed(samples[start : start + piece])
        while stream.pending:
            diarizer.step([stream])
    stream.finish()
    while stream.pending:
        diarizer.step([stream])


def test_what_a_stream_costs_is_measured(diarizer: EmbeddingDiarizer) -> None:
    assert 0 < diarizer.cost() < 1


def test_two_readers_are_told_apart_in_time_and_cheaply(
    diarizer: EmbeddingDiarizer, conversation: Conversation, vad: VadModel
) -> None:
    result = measure(Talk("two", "joined", conversation.samples, conversation.turns), diarizer, vad)
    assert result.speakers == (2, 2)
    assert result.error.rate <= 0.12
    assert max(result.delays_s) <= 2.0


def test_the_last_shorter_piece_is_diarized_and_nothing_is_pending(diarizer: EmbeddingDiarizer, verse: Samples) -> None:
    samples = verse[: int(5.37 * SAMPLE_RATE_HZ)]
    stream = diarizer.open_stream(0)
    all_of(diarizer, stream, samples, piece=700)
    assert stream.done and not stream.pending
    assert stream.decided_s == pytest.approx(5.37)
    assert {turn.speaker for turn in stream.turns} == {1}
    assert stream.turns[-1].end_s > 5.2


def test_turns_follow_each_other_and_end_by_what_is_decided(
    diarizer: EmbeddingDiarizer, conversation: Conversation
) -> None:
    stream = diarizer.open_stream(0)
    decided_s = 0.0
    for start in range(0, 20 * SAMPLE_RATE_HZ, 4000):
        stream.feed(conversation.samples[start : start + 4000])
        while stream.pending:
            diarizer.step([stream])
        assert stream.decided_s >= decided_s
        decided_s = stream.decided_s
        ends = [0.0, *(turn.end_s for turn in stream.turns)]
        assert all(end <= turn.start_s < turn.end_s for end, turn in zip(ends, stream.turns, strict=False))
        assert ends[-1] <= decided_s


def test_streams_that_go_together_come_to_the_same(
    diarizer: EmbeddingDiarizer, conversation: Conversation, verse: Samples
) -> None:
    recordings = (conversation.samples[: 20 * SAMPLE_RATE_HZ], verse[: 20 * SAMPLE_RATE_HZ])
    alone = [diarizer.open_stream(0) for _ in recordings]
    for stream, samples in zip(alone, recordings, strict=True):
        stream.feed(samples)
        stream.finish()
        while stream.pending:
            diarizer.step([stream])
    together = [diarizer.open_stream(0) for _ in recordings]
    for stream, samples in zip(together, recordings, strict=True):
        stream.feed(samples)
        stream.finish()
    while pending := [stream for stream in together if stream.pending]:
        diarizer.step(pending)
    assert [stream.turns for stream in together] == [stream.turns for stream in alone]


def test_no_more_speakers_than_wanted(diarizer: EmbeddingDiarizer, conversation: Conversation) -> None:
    stream = diarizer.open_stream(1)
    all_of(diarizer, stream, conversation.samples)
    assert {turn.speaker for turn in stream.turns} == {1}


def test_an_enrolled_voice_is_named(
    manifest: Manifest, store: Store, vad: VadModel, conversation: Conversation, verse: Samples
) -> None:
    diarizer = EmbeddingDiarizer(fetched(manifest.asset("campplus"), store), vad)
    diarizer.enrol("Will", verse[-10 * SAMPLE_RATE_HZ :])
    stream = diarizer.open_stream(0)
    all_of(diarizer, stream, conversation.samples)
    order = list(dict.fromkeys(turn.speaker for turn in conversation.turns))
    assert stream.names == {Speaker(order.index("verse") + 1): "Will"}


def test_too_little_speech_to_enrol_from(diarizer: EmbeddingDiarizer, verse: Samples) -> None:
    with pytest.raises(ApplianceError, match="too little speech to know the voice of Will by"):
        diarizer.enrol("Will", verse[: 2 * SAMPLE_RATE_HZ])


@pytest.mark.parametrize("name", ["zh-pangrama", "ja-pangrama", "hi-pangrama", "fr-pangrama"])
def test_one_speaker_in_any_language(diarizer: EmbeddingDiarizer, manifest: Manifest, store: Store, name: str) -> None:
    stream = diarizer.open_stream(0)
    all_of(diarizer, stream, np.concatenate(list(decode_file(fetched(manifest.recording(name), store)))))
    assert {turn.speaker for turn in stream.turns} == {1}
