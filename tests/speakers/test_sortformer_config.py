import pytest

from appliance.errors import UsageError
from appliance.speakers.sortformer_config import SortformerConfig


def test_the_preset_is_known_after_a_second() -> None:
    assert SortformerConfig().delay_s == pytest.approx(1.04)


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"left": -1}, {"right": -1}, {"fifo": -1}, {"cache": 15}])
def test_lengths_that_no_network_takes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SortformerConfig(**wrong)


@pytest.mark.parametrize("update", [5, 195])
def test_the_cache_is_updated_from_what_the_fifo_holds(update: int) -> None:
    with pytest.raises(UsageError, match=f"updated by {update} frames at once"):
        SortformerConfig(update=update)
    assert SortformerConfig(fifo=0, update=6).update == 6
