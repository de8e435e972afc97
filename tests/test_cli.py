import subprocess
import sys
from pathlib import Path

import pytest

from appliance import __version__
from appliance.cli import COMMANDS, main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wlk-appliance {__version__}\n"


def test_unknown_command_is_wrong_usage_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sreve"]) == 2
    said = capsys.readouterr().err
    assert said == "error: unknown command: 'sreve'\n  hint: did you mean 'serve'?\n"


def test_every_command_has_a_module_and_shows_its_help() -> None:
    modules = {path.stem for path in (Path(__file__).parent.parent / "appliance/commands").glob("*.py")}
    assert modules - {"__init__"} == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"wlk-appliance {name}" in capsys.readouterr().out


def test_errors_go_to_stderr_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "appliance", "selftest", "--models-dir", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: no such folder")
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    """As in the image, which has the server's packages and not the build tools'."""
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from appliance.cli import main; sys.exit(main(['fetch']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: fetch needs the Python package yaml")


def test_a_reader_that_goes_away_is_no_error() -> None:
    line = f"{sys.executable} -m appliance --help | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_starting_is_light() -> None:
    code = "import sys, appliance.cli; print([name for name in ('torch', 'numpy', 'yaml') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
