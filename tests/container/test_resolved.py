"""What each target's build comes to, against `golden/TARGET.txt`: what the engine is told, and what its steps do.

Where a change is wanted, the file that the failing test names is the new golden one.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.build import Names, Times, build_arguments
from appliance.container.context import Context, for_models
from appliance.container.engine import KINDS, Engine, Kind, LocalImage
from appliance.container.target import load_target, target_names
from tests.conftest import ROOT
from tests.programs import put

GOLDEN = Path(__file__).parent / "golden"
MODELS = ("base", "small")
_MOUNT = re.compile(r"--mount=type=bind,(?:from=\w+,)?source=([^,]+),target=(\S+)")


def steps(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Instructions, comments left out and continued lines joined."""
    rows = [row.strip() for row in dockerfile.splitlines() if row.strip() and not row.strip().startswith("#")]
    for row in re.sub(r"\\\n", " ", "\n".join(rows)).splitlines():
        name, _, rest = row.partition(" ")
        yield name, " ".join(rest.split())


def resolved(dockerfile: str) -> Iterator[str]:
    """A line for each thing that makes the image what it is."""
    stage = ""
    for name, rest in steps(dockerfile):
        if name == "FROM":
            origin, _, stage = rest.partition(" AS ")
            yield f"stage {stage or '(image)'} from {origin}"
        elif name == "RUN":
            for source, target in _MOUNT.findall(rest):
                yield f"  mount {source} at {target}"
            programs = " ".join(_MOUNT.sub("", rest).split())
            yield f"  run {programs}"
        elif name == "COPY":
            yield f"  layer {rest}"
        elif name in ("ENV", "LABEL"):
            for setting in sorted(shlex.split(rest)):
                yield f"  {name.lower()} {setting}"
        else:
            yield f"{'  ' if stage or name != 'ARG' else ''}{name.lower()} {rest}"


def told(kind: Kind, folder: Path, target: str) -> str:
    """The words that an engine of that kind is called with."""
    program = put(folder, kind, f'printf "%s\\n" "$@" >{folder}/words')
    put(folder, "unshare", 'shift; exec "$@"')
    names, context = Names(target, MODELS), Context(folder, "1" * 64)
    base = LocalImage("BASE", "sha256:2", "any", {}, ("sha256:3",))
    arguments = build_arguments(names, base, context, Times(0, 0))
    Engine(kind, program, "1").build(folder, "NAME", arguments, architecture="arm64")
    words = " ".join((folder / "words").read_text(encoding="utf-8").split()).replace(str(folder), "FOLDER")
    return re.sub(r"(INPUTS|VERSION)=\S+", r"\1=...", words)


@pytest.mark.parametrize("name", target_names(ROOT / "images"))
def test_the_build_is_as_it_was(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    target = load_target(name, ROOT / "images")
    rows = [f"{kind} {told(kind, tmp_path, name)}" for kind in KINDS]
    rows += [f"base {target.base}", f"architectures {' '.join(target.architectures)}", ""]
    rows += resolved(for_models(target.dockerfile.read_text(encoding="utf-8"), MODELS))
    made = tmp_path / f"{name}.txt"
    made.write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert made.read_text(encoding="utf-8") == (GOLDEN / made.name).read_text(encoding="utf-8"), f"now it is {made}"


@pytest.mark.parametrize("name", target_names(ROOT / "images"))
def test_every_image_is_hermetic_and_runs_as_a_plain_user(name: str) -> None:
    rows = list(steps(load_target(name, ROOT / "images").dockerfile.read_text(encoding="utf-8")))
    said = " ".join(rest for _, rest in rows)
    assert not re.search(r"\b(curl|wget|git clone|apt-get|secret)\b|https?://", said)
    assert all(
        rest.partition(" AS ")[0] in ("${BASE}", "appliance", "checked") for step, rest in rows if step == "FROM"
    )
    assert [rest for step, rest in rows if step == "USER"] == ["10001:10001"]
    copied = [rest for step, rest in rows if step == "COPY"]
    assert "app /opt/wlk/app" in copied[-3:]  # with the accounts alone after it
