from types import SimpleNamespace

import pytest

from appliance.speech import capacity
from appliance.speech.capacity import LONGEST_STEP_S, SERVING, UTILISATION, UTTERANCE_S, measured, share, streams


def test_streams_fill_the_threads_so_far_and_no_further() -> None:
    for workers in (1, 2, 16):
        for step_s, end_s in ((0.01, 0.03), (0.037, 0.1), (0.2, 0.3)):
            each = share(step_s, end_s)
            assert each == step_s / LONGEST_STEP_S + end_s / UTTERANCE_S + SERVING
            count = streams(each, workers)
            assert count * each <= workers * UTILISATION < (count + 1) * each


def test_a_machine_too_slow_for_one_still_serves_one() -> None:
    assert streams(share(30.0, 30.0), 1) == 1


def test_one_slow_pass_among_a_few_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, takes_s = 0.0, iter([0.3, 0.02, 0.02, 0.02, 0.02])

    def one_pass() -> None:
        nonlocal now_s
        now_s += next(takes_s)

    monkeypatch.setattr(capacity, "time", SimpleNamespace(perf_counter=lambda: now_s))
    assert measured(one_pass) == pytest.approx(0.02)
