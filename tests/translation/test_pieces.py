import unicodedata
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.manifest import Manifest
from appliance.store import Store
from appliance.translation.pieces import SentencePieces, joined, load_pieces
from tests.conftest import fetched
from tests.translation.models import SENTENCES, train_pieces

TEXTS = [text for row in SENTENCES for text in row.values()]


@pytest.fixture(scope="module")
def spm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_pieces(tmp_path_factory.mktemp("pieces"))


def test_joined_pieces_are_the_text(spm: Path) -> None:
    pieces = SentencePieces(spm)
    assert [joined(pieces.cut(text)) for text in TEXTS] == [text.replace("？", "?") for text in TEXTS]


def test_a_text_is_cut_into_fewer_pieces_than_letters(spm: Path) -> None:
    assert len(SentencePieces(spm).cut("Good morning.")) < len("Good morning.")


@pytest.mark.model
def test_the_pieces_of_m2m100_are_the_text_in_many_languages(manifest: Manifest, store: Store) -> None:
    pieces = SentencePieces(fetched(manifest.item("m2m100-418m/sentencepiece.bpe.model"), store))
    said = [recording.transcript for recording in manifest.recordings.values()]
    assert len({recording.language for recording in manifest.recordings.values()}) >= 9
    for text in [*TEXTS, *said]:
        cut = pieces.cut(text)
        assert joined(cut) == unicodedata.normalize("NFKC", text)
        assert len(cut) <= len(text) + 1


@pytest.mark.parametrize("content", [b"", b"no protocol buffer", b"\x0a\xff\xff\xff\xff\xff", b"\x0a"])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sentencepiece.bpe.model"
    file.write_bytes(content)
    with pytest.raises(ApplianceError, match=r"can't use .*sentencepiece\.bpe\.model: "):
        load_pieces(tmp_path)


def test_a_cut_off_model_is_refused(spm: Path, tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm.read_bytes()[:-1000])
    with pytest.raises(ApplianceError, match="can't use"):
        load_pieces(tmp_path)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"no tokenizer in .*tokenizer\.json") as caught:
        load_pieces(tmp_path)
    assert "sentencepiece.bpe.model" in caught.value.hint
