"""The steps of the Jetson image that can be gone here: checks, and how CTranslate2's build is told its GPU.

Programs that are not here (nvcc's tools, the base's torch) are scripts that answer like them.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import ROOT
from tests.programs import put

STEPS = ROOT / "images/jetson-thor"

LISTS = """\
  cuda_select_nvcc_arch_flags(ARCH_FLAGS ${CUDA_ARCH_LIST})
  list(APPEND CUDA_NVCC_FLAGS ${ARCH_FLAGS})
"""

Step = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """Runs a step of a copy of the folder, with stand-ins for programs: ``step(script, *words, program=body)``."""
    folder = tmp_path / "steps"
    shutil.copytree(STEPS, folder)

    def run(
        script: str, *words: str | Path, environment: dict[str, str] | None = None, **programs: str
    ) -> CompletedProcess[str]:
        for name, body in programs.items():
            put(tmp_path / "bin", name, body)
        return subprocess.run(
            [folder / script, *words],
            env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_base_that_is_expected_is_taken(step: Step) -> None:
    done = step("check_base.sh", python3="echo 2.9.0a0+145a3a7bda.nv25.10 13.0")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("found", "file", "old", "new", "expected"),
    [
        ("2.10.0a0 13.0", "", "", "", "the base holds torch 2.10.0a0 13.0, and bases.tsv says 2.9.0a0 with CUDA 13.0"),
        ("2.9.0a0 12.8", "", "", "", "the base holds torch 2.9.0a0 12.8"),
        ("2.9.0a0 13.0", "versions.env", "BASE_TAG=25.10-py3", "BASE_TAG=99.01-py3", "no row for 99.01-py3"),
        ("2.9.0a0 13.0", "versions.env", "VERSION=2.9.1", "VERSION=2.8.0", "versions.env names torchaudio 2.8.0"),
    ],
)
def test_another_base_is_told_before_anything_is_compiled(
    step: Step, tmp_path: Path, found: str, file: str, old: str, new: str, expected: str
) -> None:
    if file:
        path = tmp_path / "steps" / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    done = step("check_base.sh", python3=f"echo {found}")
    assert done.returncode == 1
    assert expected in done.stderr and "hint:" in done.stderr


def test_the_dockerfile_names_the_base_of_the_table() -> None:
    told = dict(
        row.split("=", 1)
        for row in (STEPS / "versions.env").read_text(encoding="utf-8").splitlines()
        if "=" in row and not row.startswith("#")
    )
    assert f":{told['BASE_TAG']}@sha256:" in (STEPS / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize(("environment", "architecture"), [({}, "110"), ({"CUDA_ARCHITECTURE": "90"}, "90")])
def test_ctranslate2_is_told_its_gpu_by_explicit_flags(
    step: Step, tmp_path: Path, environment: dict[str, str], architecture: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(LISTS, encoding="utf-8")
    done = step(
        "build_ctranslate2.sh",
        *(source, tmp_path / "prefix", tmp_path / "wheels"),
        environment=environment,
        cmake=f'echo "$@" >>{tmp_path}/cmake',
        python3=f'echo "$@" >>{tmp_path}/python',
        cuobjdump=f"echo ELF file 1: libctranslate2.sm_{architecture}.cubin",
    )
    assert done.returncode == 0, done.stderr
    flags = f"-gencode;arch=compute_{architecture},code=sm_{architecture}"
    assert f'  set(ARCH_FLAGS "{flags}")\n' in (source / "CMakeLists.txt").read_text(encoding="utf-8")
    asked = (tmp_path / "cmake").read_text(encoding="utf-8")
    assert "-DWITH_CUDA=ON" in asked and "--build" in asked and "--install" in asked
    assert "--no-index" in (tmp_path / "python").read_text(encoding="utf-8")


def test_another_source_is_told(step: Step, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("project(other)\n", encoding="utf-8")
    done = step("build_ctranslate2.sh", tmp_path, tmp_path, tmp_path)
    assert done.returncode == 1 and "does not choose its CUDA flags" in done.stderr


def test_a_library_without_code_for_the_gpu_is_refused(step: Step) -> None:
    done = step("check_ctranslate2.sh", "lib.so", "110", cuobjdump="echo ELF file 1: lib.sm_86.cubin")
    assert done.returncode == 1 and "holds no code for sm_110" in done.stderr


def test_torch_must_be_the_same_after_torchaudio(step: Step, tmp_path: Path) -> None:
    """The script's pip changes what torch says of itself."""
    body = f"""case "$1" in -c) cat {tmp_path}/torch ;; *) echo 2.9.1 >{tmp_path}/torch; env >{tmp_path}/env ;; esac"""
    (tmp_path / "torch").write_text("2.9.0a0\n", encoding="utf-8")
    done = step("build_torchaudio.sh", tmp_path, tmp_path, python3=body)
    assert done.returncode == 1 and "changed torch from 2.9.0a0 to 2.9.1" in done.stderr
    said = (tmp_path / "env").read_text(encoding="utf-8").splitlines()
    assert {"BUILD_SOX=0", "USE_FFMPEG=0", "USE_CUDA=0", "BUILD_VERSION=2.9.1+wlk"} <= set(said)
