"""The directions in which modules may import each other, read from the code as text."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "appliance"
MODULES = sorted(ROOT.rglob("*.py"))

TOOLS = (
    "manifest",
    "store",
    "fetch",
    "container",
    "accounts",
    "packages",
    "run",
    "digest",
    "words",
    "errors",
    "log",
    "cli",
)


def name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = parsed(file)
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(package: str) -> list[Path]:
    target = ROOT / package
    return sorted(target.rglob("*.py")) if target.is_dir() else [target.with_suffix(".py")]


def offenders(files: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return sorted(
        f"{name(file)} imports {module}"
        for file in files
        for module in set(imports(file))
        if any(module == bad or module.startswith(bad + ".") for bad in forbidden)
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_know_neither_torch_nor_the_server(tool: str) -> None:
    assert offenders(within(tool), ("torch", "starlette", "uvicorn", "appliance.server", "appliance.speech")) == []


def test_pairs_know_no_speech() -> None:
    assert offenders(within("pair"), ("appliance.speech", "appliance.server")) == []


def test_baking_knows_no_server() -> None:
    assert offenders(within("baking"), ("appliance.server", "appliance.container", "starlette")) == []


def test_speech_knows_neither_server_nor_event_loops() -> None:
    assert offenders(within("speech"), ("starlette", "uvicorn", "asyncio", "appliance.server")) == []


def test_speakers_know_neither_server_nor_event_loops_and_speech_knows_no_speakers() -> None:
    above = ("starlette", "uvicorn", "asyncio", "appliance.server", "appliance.batch", "appliance.translation")
    assert offenders(within("speakers"), above) == []
    assert offenders(within("speech"), ("appliance.speakers",)) == []


BACKENDS = ("appliance.speakers.embedding", "appliance.speakers.sortformer", "nemo")


def test_a_diarizer_is_loaded_where_one_is_wanted_and_nowhere_else() -> None:
    """Only `speakers.load` knows the backends, and imports one when it loads it."""
    speakers = ROOT / "speakers"
    allowed = {speakers / "load.py", speakers / "nemo_file.py"}
    allowed |= set(speakers.glob("sortformer*.py"))
    assert offenders([file for file in MODULES if file not in allowed], BACKENDS) == []
    assert not {*BACKENDS, "torch"} & reached([ROOT / "speakers" / "load.py", ROOT / "speakers" / "stream.py"])


def test_files_are_heard_in_another_process() -> None:
    """The server knows that process by its messages; it knows no server, and no event loop."""
    assert offenders(within("batch"), ("starlette", "uvicorn", "asyncio", "appliance.server")) == []
    inside = tuple(name(file) for file in within("batch") if file.stem not in ("job", "__init__"))
    assert offenders(within("server"), (*inside, "faster_whisper")) == []


def test_speech_and_server_know_no_build_tools() -> None:
    tools = tuple(f"appliance.{tool}" for tool in ("manifest", "store", "fetch", "container", "baking"))
    assert (
        offenders(within("pair") + within("speech") + within("server"), (*tools, "yaml", "requests", "huggingface_hub"))
        == []
    )


LIGHT = (
    "engine",
    "session",
    "scheduler",
    "window",
    "commit",
    "profile",
    "language",
    "hypothesis",
    "transcript",
    "utterance",
)
"""Modules of speech that the server and clients load at once, or that work in their process."""


def reached(files: list[Path]) -> set[str]:
    """Everything imported when these modules are, through our own modules."""
    by_name = {name(file): file for file in MODULES}
    found: set[str] = set()
    waiting = [module for file in files for module in imports(file, top_level_only=True)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports(by_name[module], top_level_only=True) if module in by_name else []
    return found


@pytest.mark.parametrize("module", LIGHT)
def test_the_rules_of_a_stream_need_no_torch(module: str) -> None:
    assert not {"torch", "ctranslate2"} & reached([ROOT / "speech" / f"{module}.py"])


@pytest.mark.parametrize(
    "module",
    ["appliance.server.main", "appliance.commands.transcribe", "appliance.client", "appliance.recording.local"],
)
def test_torch_is_loaded_after_the_port_is_open_and_by_no_client(module: str) -> None:
    """Also not by a package that we import: what counts is what is loaded in the end."""
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_the_bench_measures_from_outside() -> None:
    """Servers by their socket and their processes only; of our own ear it takes nothing but the reading of files."""
    inside = tuple(name(file) for file in within("speech") if "audio" not in file.parts and file.stem != "types")
    ours = ("appliance.server", "appliance.client", "appliance.container", "appliance.fetch", "starlette", "uvicorn")
    assert offenders(within("bench"), (*ours, *(set(inside) - {"appliance.speech"}))) == []


def test_translation_knows_no_server_and_is_loaded_by_nobody_who_does_not_translate() -> None:
    heavy = ("torch", "transformers", "starlette", "uvicorn", "asyncio", "appliance.server")
    assert offenders(within("translation"), heavy) == []
    others = [file for file in MODULES if file not in within("translation")]
    early = [
        file for file in others for module in imports(file, top_level_only=True) if "appliance.translation" in module
    ]
    assert early == []


def test_the_journal_knows_streams_and_no_server() -> None:
    above = ("torch", "starlette", "uvicorn", "asyncio", "socket", "appliance.server", "appliance.recording")
    assert offenders(within("journal"), above) == []
    known = {*within("journal"), *within("server"), *within("commands"), *within("doctor")}
    assert offenders([file for file in MODULES if file not in known], ("appliance.journal",)) == []


def test_only_their_commands_know_the_bench_the_soak_and_the_talks() -> None:
    talks = {*within("talks"), ROOT / "commands" / "bench_speakers.py"}
    soak = {*within("soak"), ROOT / "commands" / "soak.py"}
    bench = {*within("bench"), *talks, *soak, ROOT / "commands" / "bench.py"}
    assert offenders([file for file in MODULES if file not in bench], ("appliance.bench",)) == []
    assert offenders([file for file in MODULES if file not in soak], ("appliance.soak",)) == []
    assert offenders([file for file in MODULES if file not in talks], ("appliance.talks",)) == []


def test_only_commands_know_the_doctor() -> None:
    allowed = {*within("doctor"), *within("commands")}
    assert offenders([file for file in MODULES if file not in allowed], ("appliance.doctor",)) == []


def test_only_fetch_reaches_the_network() -> None:
    network = ("requests", "pypi_simple", "huggingface_hub", "urllib.request", "httpx")
    others = [file for file in MODULES if ROOT / "fetch" not in file.parents]
    assert offenders(others, network) == []


def test_only_commands_and_the_server_read_settings_from_the_command_line() -> None:
    allowed = {ROOT / "commands", ROOT / "server"}
    others = [file for file in MODULES if not allowed & set(file.parents)]
    assert offenders(others, ("argparse", "pydantic_settings")) == []


def test_nobody_imports_a_command() -> None:
    others = [file for file in MODULES if file.parent != ROOT / "commands"]
    assert offenders(others, ("appliance.commands",)) == []


def test_no_import_circles() -> None:
    known = {name(file) for file in MODULES}
    edges = {
        name(file): {m for m in imports(file, top_level_only=True) if m in known} - {name(file)} for file in MODULES
    }
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in finished:
            for target in edges[module]:
                visit(target, (*path, module))
            finished.add(module)

    for module in edges:
        visit(module, ())


def test_broad_excepts_stand_nowhere() -> None:
    found = [
        f"{name(file)}:{node.lineno}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert found == []
