import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.errors import ApplianceError
from appliance.manifest import LocalSource, load_manifest

SIZES = {
    **{"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 512, "n_audio_head": 8, "n_audio_layer": 6},
    **{"n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 512, "n_text_head": 8, "n_text_layer": 6},
}


def pinned(kind: str, format: str, **more: object) -> dict[str, Any]:
    return {"kind": kind, "format": format, "size": 5, "sha256": "ab" * 32, **more}


PART = {"package": "a", "version": "1.0", "archive": "wheel", "file": "a/x.bin", "sha256": "ab" * 32}
GOOD: dict[str, Any] = {
    "version": 1,
    "models": {
        "base.en": {
            "aliases": ["small-one"],
            "licence": "MIT",
            "tokenizer": "gpt2",
            "dimensions": SIZES,
            "alignment_heads": [[3, 1], [5, 7]],
            "sources": [
                pinned("huggingface", "ct2", repo="o/r", revision="0" * 40, file="model.bin"),
                pinned("index", "ct2", parts=[PART]),
                pinned("openai", "pt", url="https://example.invalid/base.pt"),
            ],
        }
    },
    "tokenizers": {"gpt2": {"licence": "MIT", "languages": 99, "sources": [pinned("local", "tiktoken", path="ranks")]}},
    "translators": {"m2m": {"licence": "MIT", "files": {"model.bin": [pinned("local", "ct2", path="model.bin")]}}},
}
MODEL = 'models["base.en"]'


def write(folder: Path, raw: object) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path


def fault(path: Path) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        load_manifest(path)
    assert caught.value.code == "bad_manifest"
    return caught.value


def test_a_good_one_is_read(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, GOOD))
    model = manifest.model("small-one")
    assert model.name == "base.en"
    assert model.dimensions.n_text_layer == 6
    assert model.alignment_heads == ((3, 1), (5, 7))
    (ranks,) = manifest.tokenizer("gpt2").sources
    assert isinstance(ranks, LocalSource)
    assert ranks.location == tmp_path / "ranks"
    (weights,) = manifest.translator("m2m").items
    assert weights == manifest.item("m2m/model.bin")
    assert (weights.licence, weights.licence_text, weights.aliases) == ("MIT", None, ())


def model_of(raw: dict[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] = raw["models"]["base.en"]
    return model


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "digest": (
        lambda raw: model_of(raw)["sources"][1].update(sha256="xyz"),
        f"{MODEL}.sources[1].sha256 is 'xyz': expected 64 lower-case hexadecimal digits",
    ),
    "upper-case digest": (
        lambda raw: model_of(raw)["sources"][0].update(revision="A" * 40),
        f"{MODEL}.sources[0].revision is '{'A' * 40}': expected 40 lower-case hexadecimal digits",
    ),
    "digest of a part": (
        lambda raw: model_of(raw)["sources"][1]["parts"][0].update(sha256=7),
        f"{MODEL}.sources[1].parts[0].sha256 is 7: expected text (put it in quotes)",
    ),
    "version as a number": (
        lambda raw: model_of(raw)["sources"][1]["parts"][0].update(version=1.0),
        f"{MODEL}.sources[1].parts[0].version is 1.0: expected text (put it in quotes)",
    ),
    "size": (
        lambda raw: model_of(raw)["sources"][0].update(size=0),
        f"{MODEL}.sources[0].size is 0: expected a whole number above 0",
    ),
    "size in words": (
        lambda raw: model_of(raw)["sources"][0].update(size="5 MB"),
        f"{MODEL}.sources[0].size is '5 MB': expected a whole number",
    ),
    "missing key": (lambda raw: model_of(raw)["sources"][2].pop("url"), f"{MODEL}.sources[2].url: is missing"),
    "unknown key": (lambda raw: model_of(raw).update(colour="red"), f"{MODEL}.colour: unknown key"),
    "kind": (
        lambda raw: model_of(raw)["sources"][0].update(kind="ftp"),
        f"{MODEL}.sources[0].kind is 'ftp': expected one of openai, huggingface, index, local",
    ),
    "no kind": (
        lambda raw: model_of(raw)["sources"][0].pop("kind"),
        f"{MODEL}.sources[0].kind: is missing; expected one of openai, huggingface, index, local",
    ),
    "format": (
        lambda raw: model_of(raw)["sources"][0].update(format="gguf"),
        f"{MODEL}.sources[0].format is 'gguf': expected 'ct2', 'pt', 'onnx', 'nemo', 'tiktoken', 'wav', 'json' or "
        "'sentencepiece'",
    ),
    "no sources": (
        lambda raw: model_of(raw).update(sources=[]),
        f"{MODEL}.sources is []: expected at least one entry",
    ),
    "climbing file": (
        lambda raw: model_of(raw)["sources"][0].update(file="../x"),
        f"{MODEL}.sources[0].file is '../x': expected a relative path",
    ),
    "address": (
        lambda raw: model_of(raw)["sources"][2].update(url="file:///etc/passwd"),
        f"{MODEL}.sources[2].url is 'file:///etc/passwd': expected an http:// or https:// address",
    ),
    "licence text": (
        lambda raw: model_of(raw).update(licence_text="no.txt"),
        f"{MODEL}.licence_text is 'no.txt': expected a file in the manifest's folder",
    ),
    "licence text of a translator": (
        lambda raw: raw["translators"]["m2m"].update(licence_text="no.txt"),
        "translators.m2m.licence_text is 'no.txt': expected a file in the manifest's folder",
    ),
    "head outside": (
        lambda raw: model_of(raw).update(alignment_heads=[[6, 0]]),
        f"{MODEL}.alignment_heads is [[6, 0]]: expected layers below 6 and heads below 8, not [6, 0]",
    ),
    "head that is no pair": (
        lambda raw: model_of(raw).update(alignment_heads=[[3]]),
        f"{MODEL}.alignment_heads[0][1]: is missing",
    ),
    "width": (
        lambda raw: model_of(raw)["dimensions"].update(n_text_state=500),
        "expected a width of heads x 64, not 500 for 8 heads",
    ),
    "dimension left out": (
        lambda raw: model_of(raw)["dimensions"].pop("n_vocab"),
        f"{MODEL}.dimensions.n_vocab: is missing",
    ),
    "unknown tokenizer": (
        lambda raw: model_of(raw).update(tokenizer="gpt3"),
        f"{MODEL}.tokenizer is 'gpt3': no such tokenizer; known: gpt2",
    ),
    "alias taken": (
        lambda raw: model_of(raw).update(aliases=["gpt2"]),
        "tokenizers.gpt2 is 'gpt2': this name is taken by",
    ),
    "entry is text": (lambda raw: raw["models"].update(x="y"), "models.x is 'y': expected a mapping"),
    "group is a list": (lambda raw: raw.update(assets=[1]), "assets is [1]: expected a mapping"),
    "name": (lambda raw: raw["models"].update({"A b": {}}), "models is 'A b': expected a name of lower-case letters"),
    "version": (lambda raw: raw.update(version=2), "version is 2: expected 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_path_value_and_what_was_expected(tmp_path: Path, name: str) -> None:
    spoil, said = FAULTS[name]
    raw = copy.deepcopy(GOOD)
    spoil(raw)
    path = write(tmp_path, raw)
    error = fault(path)
    assert f"{path}: " in error.message
    assert said in error.message
    for word in ("Input should", "validation error", "pydantic"):
        assert word not in error.message


def test_several_faults_come_together(tmp_path: Path) -> None:
    raw = copy.deepcopy(GOOD)
    for source in model_of(raw)["sources"]:
        source.update(sha256="x", size="y")
    lines = fault(write(tmp_path, raw)).message.splitlines()
    assert len(lines) == 6
    assert lines[-1].endswith("and 1 more")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nmodels:\n  base: [1, 2\n", "line 4, column 1: not valid YAML: "),
        ("version: 1\n\tmodels: {}\n", "line 2, column 1: not valid YAML: "),
        ("version: 1\nmodels: {}\nversion: 1\n", "line 3, column 1: not valid YAML: 'version' is given twice"),
        ("version: 1\nmodels: !!python/object:os.system {}\n", "line 2, column 9: not valid YAML: "),
        ("- 1\n", "the file is [1]: expected the keys version, models"),
        ("", "the file is None: expected the keys"),
    ],
)
def test_broken_yaml_is_told_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(write(tmp_path, text)).message


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert "no manifest at" in fault(tmp_path / "nothing.yaml").message
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot read the manifest" in fault(tmp_path / "binary.yaml").message
    assert "cannot read the manifest" in fault(tmp_path).message
