import pytest

from appliance.speech.hypothesis import FULL_WINDOW_SAMPLES
from appliance.speech.profile import (
    ACCURATE,
    BALANCED,
    FULL,
    PROFILES,
    Padding,
    agreeing,
    padded,
    translating,
)
from appliance.speech.types import SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("seconds", "expected_s"),
    [(0.0, 5), (0.1, 5), (3.0, 5), (3.01, 5.5), (3.5, 5.5), (3.51, 6), (9.99, 12)],
)
def test_padding_is_half_seconds_after_and_in_all(seconds: float, expected_s: float) -> None:
    assert Padding(least_s=5, after_s=2).length(round(seconds * SAMPLE_RATE_HZ)) == expected_s * SAMPLE_RATE_HZ


def test_no_window_outgrows_what_the_model_hears() -> None:
    """A cut window is decoded to its end with all the silence its profile asks for."""
    for profile in PROFILES.values():
        assert 0 < profile.cut_samples <= profile.longest_samples
        for padding in (profile.step_padding, profile.end_padding):
            assert padding.length(profile.longest_samples) <= FULL_WINDOW_SAMPLES


def test_full_windows_change_nothing_else() -> None:
    profile = padded(BALANCED)
    assert profile.step_padding == profile.end_padding == FULL
    assert FULL.length(3 * SAMPLE_RATE_HZ) == FULL.length(29 * SAMPLE_RATE_HZ) == FULL_WINDOW_SAMPLES
    assert (profile.rules, profile.step_s, profile.cut_s) == (BALANCED.rules, BALANCED.step_s, BALANCED.cut_s)


def test_agreement_needs_two_passes_and_no_distance() -> None:
    [rule] = agreeing(BALANCED).rules
    assert (rule.passes, rule.behind_s) == (2, 0.0)
    assert agreeing(ACCURATE).rules == ()


def test_translation_waits_for_a_pause() -> None:
    assert all(translating(profile).rules == () for profile in PROFILES.values())
