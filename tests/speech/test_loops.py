import pytest

from appliance.speech.loops import repeated_tail


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], 0),
        ([1, 2, 3, 4], 0),
        ([7, 7, 7], 0),
        ([9, 7, 7, 7, 7, 7, 7], 5),
        ([1, 2, 3, 1, 2, 3], 0),
        ([5, 1, 2, 3, 1, 2, 3, 1, 2, 3], 6),
        ([1, 2, 3, 1, 2, 3, 1, 2, 4], 0),
        ([1, 2] * 6, 10),
        ([1, 2] * 5, 0),
    ],
)
def test_repeated_tail(ids: list[int], expected: int) -> None:
    assert repeated_tail(ids) == expected
