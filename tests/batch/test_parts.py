import numpy as np

from appliance.batch.parts import SEARCHED_S, parts
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

PART_S = 100.0


def recording(seconds: float, silent: list[tuple[float, float]]) -> Samples:
    """All of it loud, but for some stretches, in seconds."""
    samples = np.linspace(0.5, 1.0, round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)
    for start, end in silent:
        samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] = 0
    return samples


def loud(samples: Samples) -> list[tuple[int, int]]:
    """Where samples are not zero."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], samples != 0, [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def lengths_s(whole: Samples, piece_s: float = 7.3) -> list[float]:
    size = round(piece_s * SAMPLE_RATE_HZ)
    made = list(parts((whole[at : at + size] for at in range(0, whole.size, size)), loud, PART_S))
    assert np.array_equal(np.concatenate(made), whole)
    return [part.size / SAMPLE_RATE_HZ for part in made]


def test_a_part_ends_in_the_longest_silence_near_its_end() -> None:
    whole = recording(150, [(20, 30), (70, 71), (80, 83), (90, 91)])
    assert lengths_s(whole) == [81.5, 68.5]


def test_speech_without_a_pause_is_cut_where_the_part_is_full() -> None:
    found = lengths_s(recording(250, []), piece_s=10)
    assert found == [100, 100, 50]


def test_silence_alone_is_cut_in_its_middle_and_ends() -> None:
    found = lengths_s(recording(250, [(0, 250)]), piece_s=10)
    assert sum(found) == 250 and max(found) <= PART_S and min(found) >= PART_S - SEARCHED_S


def test_short_and_empty_recordings() -> None:
    assert lengths_s(recording(3, [])) == [3]
    assert list(parts([], loud, PART_S)) == []
