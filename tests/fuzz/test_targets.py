"""Every target in short: real inputs are taken, and some hundreds that are made of them taken, or refused as told."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies

from tests.fuzz.targets import NAMES, Target, load

_SLOWER = 10.0
"""Times that a machine may take here, rather than in a stated run."""
_EXAMPLES = {"nemo": 10, "session": 40, "verify_script": 40}


MARKS = {"nemo": pytest.mark.nemo, "session": pytest.mark.model}
TARGETS = [pytest.param(name, marks=[MARKS[name]] if name in MARKS else []) for name in NAMES]


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Target:
    name: str = request.param
    if name == "nemo":
        request.getfixturevalue("nemo")
    if name == "session":
        request.getfixturevalue("base_pair")
        request.getfixturevalue("vad_file")
    return load(name)


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_real_inputs_are_taken(target: Target) -> None:
    for data in target.seeds:
        assert target.attempt(data, _SLOWER)[0], data[:100]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_made_inputs_are_taken_or_refused(target: Target) -> None:
    @seed(20261122)
    @settings(
        max_examples=_EXAMPLES.get(target.name, 300),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.one_of(*target.strategies))
    def tried(data: bytes) -> None:
        target.attempt(data, _SLOWER)

    tried()
