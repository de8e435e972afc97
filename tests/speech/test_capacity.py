import time

import pytest

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


def test_one_slow_pass_among_a_few_does_not_count() -> None:
    waits = iter([0.3, 0.02, 0.02, 0.02, 0.02])
    assert measured(lambda: time.sleep(next(waits))) == pytest.approx(0.02, abs=0.02)
