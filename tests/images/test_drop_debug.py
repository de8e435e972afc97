"""Real libraries, as published: what is loaded of them stays, bit for bit, and they still load."""

import importlib.util
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

PACKAGES = Path(importlib.util.find_spec("numpy").origin).parent.parent  # type: ignore[union-attr, arg-type]
LIBRARIES = sorted(
    [
        *PACKAGES.glob("ctranslate2.libs/*.so*"),
        *PACKAGES.glob("ctranslate2/*.so"),
        *PACKAGES.glob("av/video/*.so"),
        *PACKAGES.glob("cryptography/hazmat/bindings/*.so"),
        *PACKAGES.glob("torch/lib/libc10.so"),
    ]
)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drop_debug", ROOT / "images/common/drop_debug.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drop_debug"] = module
    spec.loader.exec_module(module)
    return module


def segments(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, address, size in memory and content of each segment, whose place fits its alignment."""
    (table,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for index in range(count):
        kind, _, offset, address, _, size, memory, align = struct.unpack_from("<IIQQQQQQ", data, table + index * 56)
        assert kind != 1 or (offset - address) % align == 0
        yield kind, address, memory, data[offset : offset + size]


def content(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Of all segments but what the change itself writes: the program headers, and the file's header in the first."""
    (count,) = struct.unpack_from("<H", data, 56)
    return [
        (kind, address, memory, b"" if kind == 6 else part[64 + count * 56 :] if part[:4] == b"\x7fELF" else part)
        for kind, address, memory, part in segments(data)
    ]


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name)
def test_all_that_is_loaded_stays(tool: ModuleType, library: Path) -> None:
    before = library.read_bytes()
    after = tool.without_debug(before)
    assert content(after) == content(before)
    assert len(after) <= len(before)


def test_libraries_still_load(tool: ModuleType, tmp_path: Path) -> None:
    for name in ("ctranslate2", "ctranslate2.libs"):
        shutil.copytree(PACKAGES / name, tmp_path / name)
    saved = sum(tool.drop_debug(path) for path in sorted(tmp_path.rglob("*.so*")))
    assert saved > 10_000_000
    script = (
        "import ctranslate2, numpy, sys; assert ctranslate2.__file__.startswith(sys.argv[1]);"
        "print(ctranslate2.StorageView.from_array(numpy.ones(3, numpy.float32)).shape)"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{PACKAGES}"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[3]\n", done.stderr


def test_other_files_are_left_alone(tool: ModuleType, tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(200_000), b"INPUT(libc.so.6)"):
        (tmp_path / "file.so").write_bytes(content)
        assert tool.drop_debug(tmp_path / "file.so") == 0
        assert (tmp_path / "file.so").read_bytes() == content
