import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.translation.pieces import SentencePieces, TokenizerPieces, load_pieces
from appliance.translation.translator import Job, Translator, look
from tests.translation.models import SENTENCES, Kind

pytestmark = pytest.mark.model


def translated(translator: Translator, source: str, target: str) -> list[str]:
    return translator.translate([Job(row[source], source, target) for row in SENTENCES])


@pytest.mark.parametrize("kind", ["nllb", "m2m100"])
def test_what_the_original_was_taught_comes_out(made_model: Callable[[Kind], Path], kind: Kind) -> None:
    translator = Translator(look(made_model(kind)))
    assert translator.languages.codes == ("de", "en", "zh")
    for source, target in (("en", "de"), ("de", "en"), ("zh", "de")):
        assert translated(translator, source, target) == [row[target] for row in SENTENCES]
    assert translated(translator, "en", "zh") == [row["zh"].replace("？", "?") for row in SENTENCES]


def test_a_batch_of_several_languages(nllb: Translator) -> None:
    first, second, third = SENTENCES[:3]
    jobs = [Job(first["en"], "en", "deu_Latn"), Job(second["de"], "de", "zh"), Job(third["zh"], "zh", "en")]
    assert nllb.translate(jobs) == [first["de"], "你好吗?", third["en"]]


def test_a_text_of_any_length_is_cut_and_answered(nllb: Translator) -> None:
    (answer,) = nllb.translate([Job("Good morning. " * 500, "en", "de")])
    assert len(answer) < 5000


def test_either_form_of_the_tokenizer_does(nllb_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(nllb_dir, tmp_path / "model"))
    assert isinstance(load_pieces(folder), SentencePieces)
    (folder / "sentencepiece.bpe.model").unlink()
    assert isinstance(load_pieces(folder), TokenizerPieces)
    assert translated(Translator(look(folder)), "en", "de") == [row["de"] for row in SENTENCES]


@pytest.mark.parametrize("name", ["model.bin", "config.json", "shared_vocabulary.json"])
def test_a_folder_that_lacks_a_file(nllb_dir: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(nllb_dir, tmp_path / "model"))
    (folder / name).unlink()
    with pytest.raises(ApplianceError, match=f"no {name}") as caught:
        look(folder)
    assert caught.value.code == "bad_translation" and "translation.md" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.bin", b"\x06\x00\x00\x00\x05\x00abcd\x00", "'abcd' where a 'TransformerSpec' was expected"),
        ("config.json", b"[]", "can't read"),
        ("config.json", b"{", "can't read"),
        ("shared_vocabulary.json", b"{", "can't read"),
        ("shared_vocabulary.json", b'["deu_Latn"]', "has 1 entries where model.bin has"),
    ],
)
def test_a_folder_with_another_file(nllb_dir: Path, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    folder = Path(shutil.copytree(nllb_dir, tmp_path / "model"))
    (folder / name).write_bytes(content)
    with pytest.raises(ApplianceError, match=said):
        look(folder)


def test_a_model_without_languages_is_refused(nllb_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(nllb_dir, tmp_path / "model"))
    vocabulary = folder / "shared_vocabulary.json"
    for token in ("deu_Latn", "eng_Latn", "zho_Hans"):
        vocabulary.write_text(vocabulary.read_text().replace(token, token.lower()))
    with pytest.raises(ApplianceError, match="neither NLLB nor M2M100"):
        look(folder)


def test_a_truncated_model_is_refused(nllb_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(nllb_dir, tmp_path / "model"))
    whole = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(whole[:-100])
    with pytest.raises(ApplianceError, match=r"model\.bin is not a usable CTranslate2 model"):
        look(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no such folder"):
        look(tmp_path / "nowhere")
