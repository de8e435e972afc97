"""How many streams a machine carries, by what its parts were measured to take."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.server.streams import Models
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speech.capacity import UTILISATION
from tests.speakers.doubles import Scripted

SHARE, WORKERS = 0.12, 2


def carried(cost: float | None, *, on_cpu: bool = True) -> int:
    engine = cast("Any", SimpleNamespace(share=SHARE, workers=WORKERS))
    if cost is None:
        return Models(engine, on_cpu).capacity
    speakers = SpeakerScheduler(Scripted(costs=cost))
    try:
        return Models(engine, on_cpu, speakers).capacity
    finally:
        speakers.close()


def test_speakers_take_of_the_cores_that_the_engine_has() -> None:
    assert carried(None) == 10
    assert carried(0.0325) == 8


def test_they_take_nothing_of_a_gpu() -> None:
    assert carried(0.0325, on_cpu=False) == carried(None)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_no_more_streams_than_one_thread_tells_apart(on_cpu: bool) -> None:
    assert carried(UTILISATION / 3.5, on_cpu=on_cpu) == 3
