from pathlib import Path

import pytest

from appliance.cli import main
from tests.fetch.items import item, manifest_of, pinned, sha256


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Two things that are there and one that is not, all from local files."""
    things = []
    for name in ("one", "two", "gone"):
        path = tmp_path / name
        if name != "gone":
            path.write_bytes(name.encode())
        things.append(item(pinned("local", name.encode(), path=str(path)), name=name))
    manifest, _ = manifest_of(tmp_path, *things)
    return ["--manifest", str(manifest), "--store", str(tmp_path / "store")]


def test_prints_one_line_a_file(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *options, "one", "two", "one"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"one  3 bytes  sha256:{sha256(b'one')}  onnx  local ")
    assert second.startswith("two  3 bytes")
    assert main(["fetch", *options, "one", "--offline"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("already in the store")


def test_a_missing_file_does_not_hold_up_the_others(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *options, "gone", "one"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("one  ")
    assert "error: gone can't be fetched: its only source failed: local " in err
    assert "  hint: " in err


def test_lists_what_there_is(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["fetch", *options, "one"])
    capsys.readouterr()
    assert main(["fetch", *options, "--list"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(listed) == {"one", "two", "gone"}
    assert "in store" in listed["one"]
    assert "in store" not in listed["two"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["on"], 1, "error: unknown name: 'on'\n  hint: did you mean one"),
        ([], 2, "error: nothing to fetch"),
        (["one", "--manifest", "/nowhere.yaml"], 1, "error: no manifest at /nowhere.yaml\n  hint: "),
        (["one", "--store", "/dev/null/store"], 1, "error: cannot write to the store /dev/null/store: Not a directory"),
    ],
)
def test_what_goes_wrong_is_told(
    options: list[str], words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", *options, *words]) == status
    assert said in capsys.readouterr().err
