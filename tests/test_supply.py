"""What goes into images and into the tools: all of it by hash, with a licence; and no shell is asked to run it."""

import ast
import re
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest

from appliance.accounts.components import plain_name, python_distributions
from appliance.container.advisories import locks
from appliance.container.lock import read_lock
from appliance.container.target import load_target
from appliance.manifest import Manifest
from appliance.manifest.licences import terms
from tests.conftest import ROOT

CODE = sorted((ROOT / "appliance").rglob("*.py")) + sorted((ROOT / "images").rglob("*.py"))
SHELLS = {"sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash"}


def where(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_no_program_is_run_by_a_shell() -> None:
    """Neither by what takes a line of shell, nor by a list that begins with one."""
    found = []
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                taken = f"{node.value.id}.{node.attr}"
                if taken in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput") or (
                    node.attr in ("create_subprocess_shell", "subprocess_shell")
                ):
                    found.append(where(file, node))
            if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", True):
                found.append(where(file, node.value))
    assert found == []


def test_words_for_a_shell_are_our_own() -> None:
    """Where a list names one, as in a container, no word of it is made of anything but constants of its module."""
    found, seen = [], 0
    for file in CODE:
        tree = ast.parse(file.read_text())
        ours = constants(tree)
        for node in ast.walk(tree):
            if not isinstance(node, (ast.List, ast.Tuple)):
                continue
            words = [word.value if isinstance(word, ast.Constant) else None for word in node.elts]
            if SHELLS & {word for word in words if isinstance(word, str)} and "-c" in words:
                seen += 1
                after = node.elts[words.index("-c") + 1 :]
                found += [where(file, word) for word in after if not is_constant(word, ours)]
    assert found == [] and seen > 0


def constants(tree: ast.Module) -> set[str]:
    """Names of a module that are text which nothing from outside is in, and are given once."""
    ours: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and is_constant(node.value, ours):
            ours |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    again = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return {name for name in ours if again.count(name) == 1}


def is_constant(node: ast.expr, ours: set[str]) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Name():
            return node.id in ours
        case ast.JoinedStr():
            return all(is_constant(part, ours) for part in node.values)
        case ast.FormattedValue():
            return is_constant(node.value, ours)
        case _:
            return False


def test_scripts_have_no_words_run_as_a_script() -> None:
    """But for one, which asks whether anybody answers at a port, and has made sure that it is a number."""
    asked = re.compile(r"\beval\b|\b(?:ba|da)?sh -c\b")
    scripts = [*ROOT.glob("scripts/**/*.sh"), *ROOT.glob("images/**/*.sh")]
    lines = [(file.name, line.strip()) for file in scripts for line in file.read_text().splitlines()]
    found = [line for line in lines if asked.search(line[1]) and not line[1].startswith("#")]
    assert [name for name, _ in found] == ["instance.sh"] and "/dev/tcp/127.0.0.1/$port" in found[0][1]


@pytest.mark.parametrize("lock", locks(ROOT), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_package_of_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    pinned = re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)
    assert len(read_lock(lock)) == len(pinned) > 0, "each is pinned, and by hash"
    assert "://" not in text and "--index" not in text and "--extra" not in text


def test_every_download_of_the_manifest_is_known_by_its_hash(manifest: Manifest) -> None:
    items = [*manifest.models.values(), *manifest.assets.values(), *manifest.recordings.values()]
    items += [*manifest.tokenizers.values()]
    assert len(items) > 20
    for item in items:
        assert item.sources and item.licence, item.name
        for source in item.sources:
            files = getattr(source, "files", ())
            digests = [file.sha256 for file in files] or [source.sha256]
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests), item.name
        assert terms(item.licence).condition != "its terms are not known here", item.licence


BUILDS = [*(ROOT / "images").glob("*/Dockerfile"), *(ROOT / "images").glob("*/*.sh")]


def test_every_base_is_named_by_its_digest() -> None:
    bases = re.findall(r"^ARG BASE=(.*)$", "\n".join(file.read_text() for file in BUILDS), re.MULTILINE)
    assert len(bases) == 3 and all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base) for base in bases)


def test_builds_ask_no_index_and_set_up_takes_nothing_without_a_hash() -> None:
    lines = [line for file in BUILDS for line in file.read_text().replace("\\\n", " ").splitlines()]
    calls = [line for line in lines if re.search(r"pip\"? (install|wheel) ", line)]
    assert len(calls) > 5 and [call for call in calls if "--no-index" not in call] == []
    for name in ("setup.sh", "nemo.sh"):
        assert "--require-hashes" in (ROOT / "scripts" / name).read_text()


def test_every_source_that_is_compiled_is_one_commit() -> None:
    for folder in (ROOT / "images").iterdir():
        if (folder / "target.mk").is_file():
            for source in load_target(folder.name).sources:
                assert re.fullmatch("[0-9a-f]{40}", source.commit), source


def test_every_package_that_is_installed_from_a_lock_tells_its_licence() -> None:
    """Those of the image and of the tools, as far as this machine has them installed."""
    pins = {plain_name(pin.name): pin.version for pin in read_lock(ROOT / "requirements-dev.lock")}
    [folder] = {Path(str(one.locate_file(""))) for one in distributions() if one.metadata["Name"] == "starlette"}
    told = {one.name: one.licence for one in python_distributions([folder])}
    here = pins.keys() & told.keys()
    assert len(here) > 0.9 * len(pins)
    silent = {name for name in here if not told[name]}
    with_text = {name for name in silent if any("LICENSE" in str(file) for file in distribution(name).files or ())}
    assert silent - with_text == set()
