import sys
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.run import find_program, output, run


def test_output_is_stripped() -> None:
    assert output([sys.executable, "-c", "print(' said ')"]) == "said"


def test_a_failure_can_be_pasted_into_a_shell() -> None:
    with pytest.raises(ApplianceError) as failed:
        run([sys.executable, "-c", "import sys; sys.exit('no such thing')"], capture=True, hint="look there")
    assert f"{sys.executable} -c 'import sys; sys.exit('\"'\"'no such thing'\"'\"')'" in failed.value.message
    assert "status 1" in failed.value.message
    assert failed.value.message.endswith("no such thing")
    assert failed.value.hint == "look there"


def test_an_unchecked_failure_is_returned() -> None:
    assert run([sys.executable, "-c", "raise SystemExit(3)"], check=False).returncode == 3


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"program not found: .*/nothing"):
        run([tmp_path / "nothing", "--help"])


def test_a_program_that_hangs_is_given_up() -> None:
    with pytest.raises(ApplianceError, match=r"no answer within 0\.2 s"):
        run([sys.executable, "-c", "import time; time.sleep(30)"], timeout_s=0.2)


def test_a_missing_tool_says_what_it_is_for() -> None:
    with pytest.raises(ApplianceError, match="wlk-no-such-tool is needed to test this"):
        find_program("wlk-no-such-tool", "to test this", "install it")
