"""What is loaded of a `.nemo` file, and what of it is never run."""

import io
import json
import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from appliance.errors import ApplianceError
from appliance.speakers.nemo_file import load_sortformer
from appliance.speakers.sortformer_config import SortformerConfig

nemo_needed = pytest.mark.nemo
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def contents(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {
            member.name.removeprefix("./"): opened.read()
            for member in archive
            if (opened := archive.extractfile(member)) is not None
        }


def write(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w:") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


@pytest.fixture
def changed(tiny_sortformer: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """A `.nemo` file whose configuration was changed."""

    def make(change: Callable[[dict[str, Any]], object]) -> Path:
        members = contents(tiny_sortformer)
        config = yaml.safe_load(members[CONFIG])
        change(config)
        return write(tmp_path / "changed.nemo", members | {CONFIG: json.dumps(config).encode()})

    return make


@nemo_needed
def test_loaded_as_configured_here(tiny_sortformer: Path) -> None:
    model = load_sortformer(tiny_sortformer, SortformerConfig(chunk=5, left=2, right=3, fifo=30, cache=40, update=20))
    modules = model.sortformer_modules
    assert (modules.chunk_len, modules.chunk_left_context, modules.chunk_right_context) == (5, 2, 3)
    assert (modules.fifo_len, modules.spkcache_len, modules.spkcache_update_period) == (30, 40, 20)
    assert model.async_streaming and not modules.training
    weights = torch.load(io.BytesIO(contents(tiny_sortformer)[WEIGHTS]), weights_only=True)
    assert torch.equal(modules.single_hidden_to_spks.weight, weights["sortformer_modules.single_hidden_to_spks.weight"])


@nemo_needed
def test_a_class_that_the_file_names_is_not_made(
    changed: Callable[[Callable[[dict[str, Any]], object]], Path], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    evil = {"_target_": "os.mkdir", "path": str(trace)}

    def everywhere_but_in_a_part(config: dict[str, Any]) -> None:
        config |= {"_target_": "os.mkdir", "target": "os.mkdir", "train_ds": evil, "spec_augment": evil, "optim": evil}
        for part in ("encoder", "loss"):
            config[part]["_target_"] = "os.mkdir"

    assert load_sortformer(changed(everywhere_but_in_a_part), SortformerConfig())
    with pytest.raises(ApplianceError, match=r"names a class that no Sortformer has: os\.mkdir"):
        load_sortformer(changed(lambda config: config["loss"].update(weight=[evil])), SortformerConfig())
    later = r"\${oc.decode:'{_target_: os.mkdir, path: " + str(trace) + "}'}"
    with pytest.raises(ApplianceError, match="looked up in two steps"):
        load_sortformer(changed(lambda config: config["loss"].update(weight=later)), SortformerConfig())
    with pytest.raises(ApplianceError, match="names a class that no Sortformer has"):
        load_sortformer(changed(lambda config: config["model_defaults"].update(weight=evil)), SortformerConfig())
    assert not trace.exists()


class _Runs:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.trace,)


@nemo_needed
def test_code_among_the_weights_is_not_run(tiny_sortformer: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    legacy = pickle.dumps(_Runs(trace), protocol=2)
    zipped = io.BytesIO()
    torch.save({"encoder.weight": _Runs(trace)}, zipped)
    for weights in (legacy, zipped.getvalue()):
        file = write(tmp_path / "hostile.nemo", contents(tiny_sortformer) | {WEIGHTS: weights})
        with pytest.raises(ApplianceError, match="is not a usable Sortformer"):
            load_sortformer(file, SortformerConfig())
    assert not trace.exists()
    pickle.loads(legacy)
    assert trace.exists(), "this would have been run"


@nemo_needed
def test_neither_links_nor_other_places_are_followed(tiny_sortformer: Path, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(contents(tiny_sortformer)[CONFIG])
    linked = tmp_path / "linked.nemo"
    with tarfile.open(linked, "w:") as archive:
        member = tarfile.TarInfo(CONFIG)
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / CONFIG)
        archive.addfile(member)
    with pytest.raises(ApplianceError, match=f"its {CONFIG} is no plain file"):
        load_sortformer(linked, SortformerConfig())
    elsewhere = write(tmp_path / "elsewhere.nemo", {f"../{CONFIG}": b"", f"a/{CONFIG}": b""})
    with pytest.raises(ApplianceError, match=f"there is no {CONFIG} in it"):
        load_sortformer(elsewhere, SortformerConfig())
    large = write(tmp_path / "large.nemo", {CONFIG: bytes((1 << 20) + 1)})
    with pytest.raises(ApplianceError, match=f"its {CONFIG} is .* too large"):
        load_sortformer(large, SortformerConfig())


@nemo_needed
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda config: config["preprocessor"].update(normalize="per_feature"), "normalised over a whole recording"),
        (lambda config: config["preprocessor"].update(window_stride=0.02), r"frames are not of 0\.08 s"),
        (lambda config: config["preprocessor"].update(sample_rate=8000), "not made from 16 kHz"),
        (lambda config: config["encoder"].update(n_layers=1), "Unexpected key"),
        (lambda config: config["encoder"].update(nothing=1), "encoder|ConformerEncoder"),
        (lambda config: config.pop("encoder"), "encoder"),
        (lambda config: config.update(loss=None), "NoneType"),
        (lambda config: config.update(loss="${nowhere}"), "nowhere"),
    ],
)
def test_other_models_are_refused(
    changed: Callable[[Callable[[dict[str, Any]], object]], Path], change: Callable[[Any], object], expected: str
) -> None:
    with pytest.raises(ApplianceError, match=expected) as caught:
        load_sortformer(changed(change), SortformerConfig())
    assert "\n" not in caught.value.message and "fetch sortformer-v2" in caught.value.hint


@nemo_needed
def test_damaged_files_are_refused(tiny_sortformer: Path, tmp_path: Path) -> None:
    whole, file = tiny_sortformer.read_bytes(), tmp_path / "damaged.nemo"
    members = contents(tiny_sortformer)
    for data in (b"", b"no tar", whole[: len(whole) // 2]):
        file.write_bytes(data)
        with pytest.raises(ApplianceError, match="is not a usable Sortformer"):
            load_sortformer(file, SortformerConfig())
    for damage in ({CONFIG: b"a: ["}, {CONFIG: b"- 1"}, {CONFIG: b"\xff"}, {WEIGHTS: members[WEIGHTS][:5000]}):
        with pytest.raises(ApplianceError, match="is not a usable Sortformer"):
            load_sortformer(write(file, members | damage), SortformerConfig())
    with pytest.raises(ApplianceError, match="No such file"):
        load_sortformer(tmp_path / "nowhere.nemo", SortformerConfig())


def test_without_nemo_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then ONNX Runtime, which NeMo loads, has been told to send nothing."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    for name in ("hydra", "hydra.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ApplianceError, match="sortformer needs NeMo") as caught:
        load_sortformer(Path("some.nemo"), SortformerConfig())
    assert "DIARIZATION=sortformer" in caught.value.hint
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
