"""A small random model in both formats, and the real base weights through the manifest."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.baking.tokenizer_files import Vocabulary, read_vocabulary
from appliance.fetch import Artifact, fetch_item
from appliance.manifest import Manifest, WhisperModel
from appliance.store import Store
from tests.conftest import Spoken, fetched
from tests.pair.models import SMALL, make_weights, save_checkpoint, write_noise, write_pair, write_ranks


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    return write_ranks(tmp_path / "small.tiktoken")


@pytest.fixture
def vocabulary(ranks: Path) -> Vocabulary:
    return read_vocabulary(ranks, SMALL.n_vocab)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in both formats; tests get copies."""
    folder = tmp_path_factory.mktemp("small")
    write_pair(folder / "pair", "mini")
    save_checkpoint(folder / "mini.pt", SMALL, make_weights(SMALL))
    return folder


@pytest.fixture
def small_pair(tmp_path: Path, made_once: Path) -> tuple[Path, Path]:
    copy = shutil.copytree(made_once / "pair", tmp_path / "models")
    return copy / "faster-whisper-mini", copy / "pytorch-whisper-mini"


@pytest.fixture
def small_ct2(tmp_path: Path, made_once: Path) -> Path:
    return shutil.copytree(made_once / "pair", tmp_path / "origin") / "faster-whisper-mini" / "model.bin"


@pytest.fixture
def small_pt(tmp_path: Path, made_once: Path) -> Path:
    return Path(shutil.copy(made_once / "mini.pt", tmp_path))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "noise.wav")


@dataclass(frozen=True)
class BaseFiles:
    """What baking the real `base` takes."""

    model: WhisperModel
    weights: Artifact
    ranks: Path
    recording: Path


@pytest.fixture(scope="session")
def base_files(manifest: Manifest, store: Store, librivox: tuple[Spoken, ...]) -> BaseFiles:
    model = manifest.model("base")
    fetched(model, store)
    weights = fetch_item(model, store, offline=True)
    return BaseFiles(model, weights, fetched(manifest.tokenizer(model.tokenizer), store), librivox[0].path)


@pytest.fixture(scope="session")
def rank_files(manifest: Manifest, store: Store) -> dict[str, Path]:
    """OpenAI's two rank files by their names in the manifest."""
    return {name: fetched(item, store) for name, item in manifest.tokenizers.items()}
