import numpy as np
import pytest

from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.talks.conversations import LONGEST_TURN_S, SHORTEST_TURN_S, cut_turns, join
from tests.speakers.loudness import LoudVad


def spoken(*parts: float) -> Samples:
    """Speech and silence in turn, of so many seconds each, speech first."""
    pieces = [np.full(round(part * SAMPLE_RATE_HZ), 0.1 * (index % 2 == 0)) for index, part in enumerate(parts)]
    return np.concatenate(pieces).astype(np.float32)


def test_turns_are_cut_at_pauses_and_hold_their_speech() -> None:
    turns = cut_turns(spoken(6.0, 0.5, 6.0, 0.1, 2.0, 1.0, 5.0, 1.0, 1.0), LoudVad())
    assert [round(turn.seconds) for turn in turns] == [15, 7]
    assert all(SHORTEST_TURN_S <= turn.seconds <= LONGEST_TURN_S for turn in turns)
    assert all(0 <= start < end <= turn.seconds + 1e-3 for turn in turns for start, end in turn.speech)


def test_a_conversation_is_told_as_it_was_joined() -> None:
    turns = {name: cut_turns(spoken(4.0, 1.0, 13.0, 1.0, 9.0), LoudVad()) for name in ("Ada", "Bob", "Cid")}
    joined = join(turns, 60, seed=3)
    assert 60 <= len(joined.samples) / SAMPLE_RATE_HZ < 60 + LONGEST_TURN_S + 1
    assert {turn.speaker for turn in joined.turns} == {"Ada", "Bob", "Cid"}
    for turn in joined.turns:
        heard = joined.samples[round(turn.start_s * SAMPLE_RATE_HZ) : round(turn.end_s * SAMPLE_RATE_HZ)]
        assert np.mean(heard > 0) > 0.95
    said = sum(turn.end_s - turn.start_s for turn in joined.turns)
    assert said == pytest.approx(np.count_nonzero(joined.samples) / SAMPLE_RATE_HZ, rel=0.05)
    assert np.array_equal(join(turns, 60, seed=3).samples, joined.samples)
    assert not np.array_equal(join(turns, 60, seed=4).samples[:160_000], joined.samples[:160_000])
