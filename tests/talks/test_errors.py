from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.talks.errors import DiarizationError, Spoken, diarization_error, read_rttm, total

REFERENCE = [Spoken("A", 0.0, 10.0), Spoken("B", 10.0, 20.0)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("1", 0, 10), ("2", 10, 20)], (20, 0, 0, 0)),
        ([("2", 0, 4), ("2", 4, 10), ("1", 10, 20)], (20, 0, 0, 0)),
        ([("1", 0, 20)], (20, 0, 0, 10)),
        ([("1", 0, 12), ("2", 12, 20)], (20, 0, 0, 2)),
        ([("1", 0, 8)], (20, 12, 0, 0)),
        ([("1", 0, 10), ("2", 10, 23)], (20, 0, 3, 0)),
        ([("1", 0, 10), ("2", 5, 20)], (20, 0, 5, 0)),
        ([("1", 0, 6), ("2", 6, 10), ("3", 10, 13), ("1", 13, 20)], (20, 0, 0, 9)),
        ([], (20, 20, 0, 0)),
    ],
)
def test_the_kinds_of_error(found: list[tuple[str, float, float]], expected: tuple[float, ...]) -> None:
    error = diarization_error(REFERENCE, [Spoken(*turn) for turn in found], collar_s=0)
    assert (error.reference_s, error.missed_s, error.false_s, error.confused_s) == pytest.approx(expected)


def test_overlapping_speech_counts_for_each() -> None:
    reference = [Spoken("A", 0, 10), Spoken("B", 8, 12)]
    error = diarization_error(reference, [Spoken("1", 0, 10), Spoken("2", 10, 12)], collar_s=0)
    assert (error.reference_s, error.missed_s, error.rate) == pytest.approx((14, 2, 2 / 14))


def test_half_a_collar_on_each_side_of_a_boundary_is_spared() -> None:
    late = [Spoken("1", 0, 10.5), Spoken("2", 10.5, 20)]
    error = diarization_error(REFERENCE, late, collar_s=0.25)
    assert (error.reference_s, error.confused_s) == pytest.approx((20 - 4 * 0.125, 0.5 - 0.125))


def test_what_pyannote_metrics_gives() -> None:
    """Turns by chance, with 4.2's DiarizationErrorRate(collar=0.25): they agreed to 1e-15 on forty such."""
    reference = [Spoken("A", 0.2, 3.1), Spoken("B", 2.8, 5.0), Spoken("A", 5.5, 6.1), Spoken("C", 6.0, 9.4)]
    found = [Spoken("1", 0.0, 2.9), Spoken("2", 2.9, 5.2), Spoken("2", 5.4, 6.3), Spoken("3", 6.4, 9.0)]
    assert diarization_error(reference, found).rate == pytest.approx(0.12162162162162181)


def test_totals_weigh_by_the_speech() -> None:
    both = total([DiarizationError(90, 9, 0, 0), DiarizationError(10, 0, 0, 1)])
    assert (both.reference_s, both.wrong_s, both.rate) == (100, 10, 0.1)


def test_rttm(tmp_path: Path) -> None:
    file = tmp_path / "talk.rttm"
    file.write_text("SPEAKER talk 1 1.5 2.25 <NA> <NA> Ada <NA> <NA>\n\nSPKR-INFO talk 1 <NA>\n")
    assert read_rttm(file) == [Spoken("Ada", 1.5, 3.75)]
    file.write_text("SPEAKER talk 1 from 2.25 <NA> <NA> Ada <NA> <NA>\n")
    with pytest.raises(ApplianceError, match=r"talk\.rttm can't be read as RTTM: could not convert"):
        read_rttm(file)
