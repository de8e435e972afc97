import json
from pathlib import Path

import pytest
import yaml

from appliance.container.context import Context, for_models, shipped_items, stage_context
from appliance.container.target import load_target
from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import load_manifest
from appliance.manifest.licences import check_licences
from appliance.store import Store
from tests.conftest import ROOT
from tests.fetch.items import pinned

DOCKERFILE = """\
ARG MODEL=base
COPY models/${MODEL} /models/${MODEL}
COPY app /opt/wlk/app
ENV WLK_MODEL=${MODEL}
"""


def test_each_model_is_copied_by_a_step_of_its_own() -> None:
    assert for_models(DOCKERFILE, ["base", "small.en"]).splitlines() == [
        "ARG MODEL=base",
        "COPY models/base /models/base",
        "COPY models/small.en /models/small.en",
        "COPY app /opt/wlk/app",
        "ENV WLK_MODEL=${MODEL}",
    ]


def small_manifest(folder: Path) -> Path:
    """The assets of an image, each a few bytes in a local file."""

    def local(name: str, licence: str, form: str = "onnx", **more: object) -> dict[str, object]:
        (folder / name).write_bytes(name.encode())
        return {"licence": licence, "sources": [pinned("local", name.encode(), path=name, format=form)], **more}

    assets = {
        "vad": local("vad", "MIT", kind="vad"),
        "campplus": local("campplus", "Apache-2.0", "pt", kind="diarizer"),
        "speakers-v2": local("speakers-v2", "CC-BY-4.0", "nemo", kind="diarizer", aliases=["sortformer"]),
    }
    said = {"librivox-0870": local("librivox-0870", "MIT", language="en", transcript="said")}
    file = folder / "manifest.yaml"
    raw = {"version": 1, "models": {}, "assets": assets, "recordings": said}
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def staged(folder: Path, diarization: str) -> Context:
    target = load_target("x86-cuda", ROOT / "images", diarization)
    manifest = load_manifest(small_manifest(folder))
    with Fetcher(Store(folder / "store"), offline=True) as fetcher:
        return stage_context(target, (), (), (), manifest, fetcher, folder, {}, folder / "context")


def test_without_diarization_only_the_small_voice_model_is_staged(tmp_path: Path) -> None:
    folder = staged(tmp_path, "none").folder
    assert [path.name for path in (folder / "models/diarizer").iterdir()] == ["campplus.pt"]
    assert "nemo" not in (folder / "requirements.lock").read_text(encoding="utf-8")
    assert {path.name for path in folder.glob("requirements*")} == {"requirements.lock"}


def test_with_diarization_weights_and_their_own_lock_are_staged_and_told(tmp_path: Path) -> None:
    folder = staged(tmp_path, "sortformer").folder
    assert (folder / "models/diarizer/speakers-v2.nemo").read_bytes() == b"speakers-v2"
    assert "nemo-toolkit==" in (folder / "requirements.lock").read_text(encoding="utf-8")
    assert {path.name for path in folder.glob("requirements*")} == {"requirements.lock"}
    told = json.loads((folder / "models/assets.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["file"]) for one in told if one["kind"] == "model"] == [
        ("vad", "silero_vad.onnx"),
        ("campplus", "diarizer/campplus.pt"),
        ("speakers-v2", "diarizer/speakers-v2.nemo"),
    ]


def test_a_licence_policy_looks_at_the_diarizer_too() -> None:
    manifest = load_manifest(ROOT / "models/manifest.yaml")
    check_licences(shipped_items(manifest, ("base",), "sortformer"), "redistributable")
    with pytest.raises(ApplianceError, match=r"sortformer-v2\.1: .*NVIDIA"):
        check_licences(shipped_items(manifest, ("base",), "sortformer-v2.1"), "redistributable")
