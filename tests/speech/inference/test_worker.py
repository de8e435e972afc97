"""The process as it is, with the real `base`: what is loaded where."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.pair.locate import Pair

pytestmark = pytest.mark.model

PARENT = """
import json, sys
from pathlib import Path
from appliance.pair.locate import open_pair
from appliance.speech.config import EngineConfig
from appliance.speech.engine import Engine

encoder, decoder, vad = map(Path, sys.argv[1:])
engine = Engine.load(EngineConfig(open_pair(encoder, decoder), vad))
maps = Path(f"/proc/{engine.worker_pid}/maps").read_text()
print(json.dumps(["torch" in sys.modules, "libtorch" in Path("/proc/self/maps").read_text(), "libtorch" in maps]))
engine.close()
"""

THREADS = """
import json, sys
from pathlib import Path
import torch
from threadpoolctl import threadpool_info
from appliance.pair.locate import open_pair
from appliance.speech.config import EngineConfig
from appliance.speech.inference.worker import load_recognizer

encoder, decoder, vad = map(Path, sys.argv[1:])
load_recognizer(EngineConfig(open_pair(encoder, decoder), vad))
blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
print(json.dumps([torch.get_num_threads(), *blas]))
"""


def told(program: str, pair: Pair, vad_file: Path) -> list[int]:
    command = [sys.executable, "-c", program, str(pair.encoder_dir), str(pair.decoder_file.parent), str(vad_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


def test_the_models_are_in_that_process_and_not_in_the_one_that_has_the_streams(
    base_pair: Pair, vad_file: Path
) -> None:
    assert told(PARENT, base_pair, vad_file) == [False, False, True]


def test_no_library_there_has_threads_of_its_own_for_products(base_pair: Pair, vad_file: Path) -> None:
    """numpy's BLAS keeps one for each core, which spins between products: nearly half of a stream's CPU time."""
    found = told(THREADS, base_pair, vad_file)
    assert len(found) > 1 and set(found) == {1}
