import numpy as np
import pytest

from appliance.speakers.clustering import MOST_CANDIDATES, MOST_SPEAKERS, Clustering, Stretch, Vector
from appliance.speech.types import Speaker

HALF_S = 0.5


def voice(number: int, noise: float = 0.6, seed: int = 0) -> Vector:
    """One of many voices, not quite the same each time it is heard: about 0.7 alike."""
    vector = np.eye(192, dtype=np.float32)[number]
    heard = np.random.default_rng([number, seed]).standard_normal(192) / 192**0.5
    vector = vector + np.float32(noise) * heard.astype(np.float32)
    return vector / np.linalg.norm(vector)


def said(number: int, start_s: float, seconds: float, heard_s: float = 1.0) -> list[Stretch]:
    starts = np.arange(start_s, start_s + seconds, HALF_S)
    return [
        Stretch(float(start), float(start) + HALF_S, voice(number, seed=int(start * 2)), heard_s) for start in starts
    ]


def conversation(clustering: Clustering, turns: list[tuple[int, float]]) -> list[Stretch]:
    """Turns of so many seconds, one second apart, each stretch as it comes; returns all stretches at their end."""
    at_s = 0.0
    settled = []
    for number, seconds in turns:
        for stretch in said(number, at_s, seconds):
            settled += clustering.settle(stretch.start_s - 10)
            clustering.add([stretch])
        at_s += seconds + 1
    return settled + clustering.recent


def speakers(stretches: list[Stretch]) -> list[int]:
    return [stretch.speaker for stretch in stretches]


def test_speakers_are_numbered_as_they_appear_and_keep_their_numbers() -> None:
    turns = [(5, 4.0), (3, 4.0), (5, 4.0), (9, 4.0), (3, 4.0), (9, 4.0), (5, 4.0)]
    found = conversation(Clustering(0, {}), turns)
    assert speakers(found)[::8] == [1, 2, 1, 3, 2, 3, 1]
    assert speakers(found) == [number for number in [1, 2, 1, 3, 2, 3, 1] for _ in range(8)]


def test_a_new_speaker_needs_some_speech_and_then_has_all_of_it() -> None:
    clustering = Clustering(0, {})
    clustering.add(said(1, 0, 5))
    clustering.add(said(2, 6, 1.5))
    assert set(speakers(clustering.recent)) == {1}
    clustering.add(said(2, 7.5, 0.5))
    assert speakers(clustering.recent) == [1] * 10 + [2] * 4


def test_one_who_speaks_little_each_time_is_known_in_the_end() -> None:
    turns = [(1, 15.0), (2, 1.0), (1, 15.0), (2, 1.0), (1, 15.0), (2, 1.0)]
    found = conversation(Clustering(0, {}), turns)
    assert speakers(found)[-2:] == [2, 2]


def test_what_is_heard_too_shortly_goes_to_the_nearest() -> None:
    clustering = Clustering(0, {})
    clustering.add(said(1, 0, 4) + said(2, 5, 4))
    clustering.add(said(1, 10, 0.5, heard_s=0.3) + said(7, 11, 3, heard_s=0.3))
    assert clustering.recent[16].speaker == 1
    assert set(speakers(clustering.recent)) == {1, 2}


def test_what_is_settled_never_changes() -> None:
    clustering = Clustering(0, {})
    clustering.add(said(1, 0, 4))
    clustering.add(said(2, 5, 1))
    (*_, last) = clustering.settle(before_s=6.0)
    assert (last.end_s, last.speaker) == (6.0, 1)
    clustering.add(said(2, 20, 4))
    assert last.speaker == 1
    assert set(speakers(clustering.recent)) == {2}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_speakers_than_wanted(most: int) -> None:
    found = conversation(Clustering(most, {}), [(number, 4.0) for number in (1, 2, 3, 4, 1, 2, 3, 4)])
    assert set(speakers(found)) == set(range(1, most + 1))


def test_an_enrolled_voice_has_its_name_once_it_speaks() -> None:
    mean = np.mean([voice(2, seed=seed) for seed in range(100, 110)], axis=0)
    clustering = Clustering(0, {"Ada": mean, "Bob": np.mean([voice(3, seed=1), voice(3, seed=2)], axis=0)})
    assert clustering.names == {}
    clustering.add(said(1, 0, 4))
    assert clustering.names == {}
    clustering.add(said(2, 5, 1))
    assert clustering.names == {Speaker(2): "Ada"}
    assert speakers(clustering.recent) == [1] * 8 + [2] * 2


def test_what_is_kept_is_bounded_however_long_and_however_many() -> None:
    clustering = Clustering(0, {})
    numbers = np.random.default_rng(1).integers(0, 40, size=120)
    conversation(clustering, [(int(number), 2.5) for number in numbers])
    assert len(clustering._known) <= MOST_SPEAKERS
    assert len(clustering._candidates) <= MOST_CANDIDATES
    assert len(clustering.recent) <= 12 / HALF_S


def test_the_same_two_keep_their_numbers_for_long() -> None:
    found = conversation(Clustering(0, {}), [(1 + turn % 2, 5.0) for turn in range(160)])
    assert speakers(found) == [1 + turn % 2 for turn in range(160) for _ in range(10)]
