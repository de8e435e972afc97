import numpy as np
import pytest

from appliance.speakers.activity import KEPT_S, Activity, Thresholds

FRAME_S = 0.1
THRESHOLDS = Thresholds(onset=0.6, offset=0.4, shortest_pause_s=0.2, shortest_turn_s=0.3)
YES, MAYBE, NO = 0.9, 0.5, 0.1


def heard(rows: dict[int, str], max_speakers: int = 0) -> Activity:
    """What is made of outputs that say ``+`` yes, ``~`` maybe, ``.`` no, a character a frame."""
    activity = Activity(4, FRAME_S, THRESHOLDS, max_speakers)
    say = {"+": YES, "~": MAYBE, ".": NO}
    length = max(map(len, rows.values()))
    probabilities = np.full((length, 4), 0.01, np.float32)
    for output, row in rows.items():
        probabilities[: len(row), output] = [say[character] for character in row]
    for row in probabilities:
        activity.take(row[None])
    return activity


def turns(activity: Activity, until_s: float = 99.0) -> list[tuple[int, int, int]]:
    """Speakers, and frames from and to."""
    return [
        (turn.speaker, round(turn.start_s / FRAME_S), round(turn.end_s / FRAME_S)) for turn in activity.turns(until_s)
    ]


def test_silence_is_nobodys() -> None:
    """An argmax would give each frame to somebody."""
    assert turns(heard({0: "........", 1: "~~~~~~~~"})) == []


def test_several_speak_at_once() -> None:
    assert turns(heard({0: "+++++++...", 1: "...+++++++"})) == [(1, 0, 7), (2, 3, 10)]


def test_begun_by_the_higher_threshold_and_ended_by_the_lower() -> None:
    assert turns(heard({0: "~~~+~~~~....."})) == [(1, 3, 8)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("++.++.....", [(1, 0, 5)]),
        ("+++..+++..", [(1, 0, 3), (1, 5, 8)]),
        ("+++.~+++..", [(1, 0, 3), (1, 5, 8)]),
        ("++...++...", []),
        ("++...+++..", [(1, 5, 8)]),
    ],
)
def test_short_pauses_and_short_turns_are_none(said: str, expected: list[tuple[int, int, int]]) -> None:
    assert turns(heard({2: said})) == expected


def test_numbered_as_they_first_appear() -> None:
    """Not by output, and not by what is too short to count."""
    activity = heard({0: "++.................+++++", 3: "....+++++++..........", 1: "............+++++...."})
    assert [speaker for speaker, _, _ in turns(activity)] == [1, 2, 3]
    assert activity.numbers == {3: 1, 1: 2, 0: 3}


def test_what_may_be_a_turn_is_not_decided() -> None:
    activity = heard({0: "++++++++++", 1: "........++"})
    assert activity.decided_s == pytest.approx(0.8)
    assert turns(activity, activity.decided_s) == [(1, 0, 8)]
    activity = heard({0: "+++++++++++", 1: "........+++"})
    assert activity.decided_s == pytest.approx(1.1)
    assert turns(activity, activity.decided_s) == [(1, 0, 11), (2, 8, 11)]


def test_what_is_decided_is_never_taken_back() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((600, 4), np.float32)
    probabilities = (probabilities[:-2] + probabilities[1:-1] + probabilities[2:]) / 3
    activity, seen = Activity(4, FRAME_S, THRESHOLDS), set()
    for row in probabilities:
        activity.take(row[None])
        seen = {(turn.speaker, turn.start_s) for turn in activity.turns(activity.decided_s)} | seen
    assert len(seen) > 20
    assert seen == {(turn.speaker, turn.start_s) for turn in activity.turns(99.0)}


def test_of_more_speakers_than_there_are_the_likeliest_known_one_speaks() -> None:
    said = {0: "++++++........~~~~~~......", 1: "......++++++..............", 2: "..............++++++......"}
    assert turns(heard(said)) == [(1, 0, 6), (2, 6, 12), (3, 14, 20)]
    assert turns(heard(said, max_speakers=2)) == [(1, 0, 6), (2, 6, 12), (1, 14, 20)]
    assert turns(heard(said, max_speakers=1)) == [(1, 0, 12), (1, 14, 20)]
    assert turns(heard(said, max_speakers=9)) == turns(heard(said))


def test_of_two_that_appear_at_once_one_is_taken() -> None:
    assert turns(heard({0: "+++++++...", 2: "+++++++..."}, max_speakers=1)) == [(1, 0, 7)]


def test_old_turns_are_forgotten() -> None:
    activity = Activity(4, FRAME_S, THRESHOLDS)
    for _ in range(300):
        activity.take(np.repeat(np.array([[YES, NO, NO, NO], [NO] * 4], np.float32), 5, axis=0))
    kept = activity.turns(activity.decided_s)
    assert kept[0].end_s >= activity.decided_s - KEPT_S - 1 and len(kept) == pytest.approx(KEPT_S, abs=1)
