"""The manifest in this repository."""

import pytest

from appliance.errors import ApplianceError
from appliance.manifest import IndexSource, Manifest, OpenaiSource

SIZES = ("tiny", "base", "small", "medium")
NAMES = [name for size in SIZES for name in (f"{size}.en", size)]
NAMES += ["large-v1", "large-v2", "large-v3", "large-v3-turbo"]


def test_holds_every_model_and_both_aliases(manifest: Manifest) -> None:
    assert list(manifest.models) == NAMES
    assert manifest.model("large") is manifest.models["large-v3"]
    assert manifest.model("turbo") is manifest.models["large-v3-turbo"]
    assert set(manifest.assets) == {"silero-vad", "campplus", "sortformer-v2", "sortformer-v2.1"}


def test_the_text_of_a_licence_goes_along_where_it_asks_for_it(manifest: Manifest) -> None:
    for item in (*manifest.models.values(), manifest.asset("silero-vad")):
        assert item.licence_text is not None
        assert item.licence_text.read_text(encoding="utf-8").startswith(f"{item.licence} License\n\nCopyright (c) 20")


def test_an_unknown_model_is_answered_with_close_names(manifest: Manifest) -> None:
    with pytest.raises(ApplianceError, match="unknown model: 'medum'") as caught:
        manifest.model("medum")
    assert "medium" in caught.value.hint
    with pytest.raises(ApplianceError) as caught:
        manifest.model("zzz")
    assert "large-v3-turbo" in caught.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_address_carries_its_digest(manifest: Manifest, name: str) -> None:
    model = manifest.model(name)
    (checkpoint,) = [source for source in model.sources if isinstance(source, OpenaiSource)]
    assert checkpoint.url.split("/")[-2:] == [checkpoint.sha256, f"{name}.pt"]
    assert [source.kind for source in model.sources][:2] == ["huggingface", "openai"]


@pytest.mark.parametrize("name", NAMES)
def test_the_vocabulary_fits_the_tokenizer(manifest: Manifest, name: str) -> None:
    model = manifest.model(name)
    tokenizer = manifest.tokenizer(model.tokenizer)
    ranks = 50256 if model.tokenizer == "gpt2" else 50257
    other_tokens = 8 + 1501  # control tokens, and time stamps from 0 to 30 s in steps of 20 ms
    assert model.dimensions.n_vocab == ranks + tokenizer.languages + other_tokens
    assert model.dimensions.is_multilingual == (not name.endswith(".en"))


def test_base_needs_only_the_python_index(manifest: Manifest) -> None:
    needed = [manifest.model("base"), manifest.tokenizer("multilingual")]
    needed += [manifest.asset("silero-vad"), manifest.asset("campplus")]
    for item in [*needed, *manifest.recordings.values()]:
        assert any(isinstance(source, IndexSource) for source in item.sources), item.name


def test_the_recordings(manifest: Manifest) -> None:
    librivox = [item for name, item in manifest.recordings.items() if name.startswith("librivox-")]
    assert len(librivox) == 5
    assert sum(len(item.transcript.split()) for item in librivox) == 71
    verse = manifest.recording("sonnet-1").transcript.split()
    assert (len(verse), verse[:2], verse[-1]) == (107, ["One", "From"], "thee.")
    others = [item.language for item in manifest.recordings.values() if item not in librivox]
    assert len(others) >= 12
    assert set(others) == {"en", "es", "fr", "hi", "it", "ja", "pl", "pt", "zh"}


TRANSLATORS = {"nllb": "nllb-200-distilled-600m", "m2m100": "m2m100-418m"}


@pytest.mark.parametrize(("alias", "name"), TRANSLATORS.items())
def test_a_translator_is_a_folder_of_pinned_files(manifest: Manifest, alias: str, name: str) -> None:
    translator = manifest.translator(alias)
    assert translator is manifest.translators[name]
    assert {item.name for item in translator.items} == {
        f"{name}/{file}" for file in ("model.bin", "config.json", "shared_vocabulary.json", "sentencepiece.bpe.model")
    }
    hub = [source for item in translator.items for source in item.sources if source.kind == "huggingface"]
    assert len({source.revision for source in hub}) == 1
    for item in translator.items:
        assert item.sources[0].kind == "huggingface"
        assert len({(source.size, source.sha256) for source in item.sources}) == 1
        assert f"{name}/{item.sources[0].file}" == item.name
    assert set(translator.items) <= set(manifest.items())


def test_the_text_of_a_translators_licence_goes_along(manifest: Manifest) -> None:
    assert set(manifest.translators) == set(TRANSLATORS.values())
    texts = {}
    for name, translator in manifest.translators.items():
        (text,) = {item.licence_text for item in translator.items}
        assert text is not None and text == translator.licence_text
        texts[name] = text.read_text(encoding="utf-8")
    assert texts["m2m100-418m"].startswith("MIT License\n\nCopyright (c) Facebook, Inc. and its affiliates.\n")
    assert "https://creativecommons.org/licenses/by-nc/4.0/legalcode" in texts["nllb-200-distilled-600m"]
