"""What documents say of the code: messages, models, settings, and commands with their flags."""

import ast
import math
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from appliance.manifest import Manifest, load_manifest
from appliance.pair.weight_names import decoder_shapes
from tests.conftest import ROOT

DOCS = ROOT / "docs"
WRITTEN = ("client", "embedding", "journal", "models", "security", "troubleshooting", "transcribe", "tuning")


@cache
def literals() -> tuple[str, ...]:
    """Every text in the program, what is put into it as an ellipsis; and the lines of its scripts."""
    found = []
    for file in (ROOT / "appliance").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for file in (ROOT / "scripts").rglob("*.sh"):
        found += [re.sub(r"\$\{[^}]*\}|\$\w+", "…", line) for line in file.read_text().splitlines()]
    return tuple(found)


def messages() -> list[str]:
    """What stands in backticks in the first column of the tables of troubleshooting.md."""
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`(.*?)`", row)]


@pytest.mark.parametrize("message", messages())
def test_every_quoted_message_is_one_of_the_programs(message: str) -> None:
    fragments = [fragment.strip() for fragment in message.split("…")]
    pattern = re.compile(".*?".join(re.escape(fragment) for fragment in fragments), re.DOTALL)
    assert len("".join(fragments)) > 3
    assert any(pattern.search(text) for text in literals())


def test_the_models_are_those_of_the_manifest(manifest: Manifest) -> None:
    rows = re.findall(
        r"^\| `(.*?)` \| (\d+), (\d+) \+ (\d+) \| (\d+) \| (\d+) \| (.*?) \| (.*?) \|$", text("models"), re.M
    )
    told = {name.split("`")[0]: rest for name, *rest in rows}
    expected = {}
    for name, model in manifest.models.items():
        sizes = model.dimensions
        download = next(source.size for source in model.sources if source.format == "ct2")
        pair = download + 2 * sum(math.prod(shape) for shape in decoder_shapes(sizes).values())
        known = "English" if name.endswith(".en") else str(manifest.tokenizer(model.tokenizer).languages)
        layers = (sizes.n_audio_state, sizes.n_audio_layer, sizes.n_text_layer)
        expected[name] = [*map(str, layers), str(round(download / 1e6)), str(round(pair / 1e6)), known, model.licence]
    assert told == expected
    for name, model in manifest.models.items():
        assert all(f"`{name}`, `{alias}`" in text("models") for alias in model.aliases)


def test_the_example_of_a_model_of_ones_own_is_a_manifest_entry(tmp_path: Path) -> None:
    entry = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text("models"), re.DOTALL)[0])
    content = yaml.safe_load((ROOT / "models" / "manifest.yaml").read_text())
    content["models"] |= entry
    (tmp_path / "licences").symlink_to(ROOT / "models" / "licences")
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(content))
    assert load_manifest(tmp_path / "manifest.yaml").model("our-base").sources[0].kind == "local"


def test_the_translators_are_those_of_the_manifest(manifest: Manifest) -> None:
    rows = re.findall(
        r"^\| .* \| ([\w.-]+)(?:: \*\*.*\*\*)? \| \d+ of 100 \| (\d+) MB: `wlk-appliance fetch (\S+) --out DIR` \|$",
        text("translation"),
        re.M,
    )
    sizes = {name: sum(item.sources[0].size for item in model.items) for name, model in manifest.translators.items()}
    assert {(name, licence, int(size_mb)) for licence, size_mb, name in rows} == {
        (name, model.licence, round(sizes[name] / 1e6)) for name, model in manifest.translators.items()
    }
    for name, model in manifest.translators.items():
        assert f"`{name}` ({model.licence}" in text("models")


def text(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def commands() -> list[tuple[str, ...]]:
    """Each command line of ours that stands in these documents: its command, and the flags in it."""
    found: dict[tuple[str, ...], None] = {}
    for name in WRITTEN:
        for line in re.findall(r"wlk-appliance ([a-z][^`\n|#]*)", text(name)):
            words = line.split()
            flags = sorted({word.partition("=")[0] for word in words if word.startswith("--")})
            if words and (flags or words[0] in ("bake", "transcribe")):
                found[(words[0], *flags)] = None
    return list(found)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_flag_of_a_command_is_one(command: tuple[str, ...]) -> None:
    name, *flags = command
    done = subprocess.run(
        [sys.executable, "-m", "appliance", name, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(re.search(rf"{re.escape(flag)}\b", done.stdout) for flag in flags)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_setting_that_is_named_exists(name: str) -> None:
    from appliance.server.settings import OTHER_NAMES, Settings, variable

    known = {variable(setting) for setting in Settings.model_fields} | OTHER_NAMES
    assert set(re.findall(r"\bWLK_[A-Z_]*[A-Z]\b", text(name))) <= known


@pytest.mark.parametrize("name", WRITTEN)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text(name))
    assert links and all((DOCS / link).is_file() for link in links)


def test_every_test_that_a_promise_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text("security")))
    assert len(named) > 15 and all((ROOT / name).is_file() for name in named)


def test_every_row_of_the_check_from_outside_is_told() -> None:
    told = text("security").partition("## Seen from outside")[2]
    scripts = "".join(file.read_text() for file in (ROOT / "scripts/harden").glob("*.sh"))
    rows = set(re.findall(r"\b(?:ok|error|warning) \"?([a-z][a-z' ]+[a-z])\"? \"", scripts))
    assert len(rows) > 15 and [row for row in sorted(rows) if f"`{row}`" not in told] == []
