import hashlib
import json
from pathlib import Path

import pytest
import tokenizers
from faster_whisper.tokenizer import Tokenizer as WhisperTokenizer

from appliance.baking.tokenizer_files import (
    TIMESTAMPS,
    Vocabulary,
    byte_alphabet,
    merges,
    read_vocabulary,
    write_tokenizer_files,
)
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.manifest import Manifest
from appliance.pair.dimensions import Dimensions
from tests.pair.models import HEADS, MERGES, SMALL, TOKENS, write_ranks

# The side files published with `base` (for the tokenizer: in today's form of the Hugging Face format).
PUBLISHED = {
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
    "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
}
# The list of tokens published with the multilingual CTranslate2 models, which calls one of them by its older name.
PUBLISHED_VOCABULARY_TXT = "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"

SENTENCES = [
    "The quick brown fox jumps over the lazy dog; it's 12:30, isn't it?",
    "  two  spaces\tand\na line",
    "Größere Äpfel heißen für Øyvind naïve œuvres",
    "Съешь же ещё этих мягких французских булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "敏捷的棕色狐狸跳过懒狗。",
    "いろはにほへと ちりぬるを",
    "키스의 고유조건은 입술끼리 만나야 하고",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "דג סקרן שט בים מאוכזב",
    "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "นายสังฆภัณฑ์ เฮงพิทักษ์ฝั่ง",
    "ზარმაცი მელია ♪♪ 👩‍👩‍👧 𝔘𝔫𝔦 \u200d",
    "ሰማይ አይታረስ ንጉሥ አይከሰስ",
]


def test_byte_alphabet_is_256_different_printable_characters() -> None:
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert (alphabet[ord("a")], alphabet[ord(" ")], alphabet[ord("\n")]) == ("a", "Ġ", "Ċ")
    assert not any(letter.isspace() for letter in alphabet)


def test_merges_name_the_last_two_parts() -> None:
    ranks = (*(bytes([byte]) for byte in range(256)), b"ab", b"cd", b"abcd", b"abc")
    assert merges(ranks) == [(b"a", b"b"), (b"c", b"d"), (b"ab", b"cd"), (b"ab", b"c")]


def test_token_that_nothing_merges_to_is_refused() -> None:
    with pytest.raises(ApplianceError, match="can't be merged"):
        merges((*(bytes([byte]) for byte in range(256)), b"abcd"))


def test_sizes_decide_the_languages(ranks: Path) -> None:
    older, newer = read_vocabulary(ranks, SMALL.n_vocab), read_vocabulary(ranks, SMALL.n_vocab + 1)
    assert (len(older.languages), older.languages[-1]) == (99, "su")
    assert (len(newer.languages), newer.languages[-1]) == (100, "yue")
    assert len(older.texts) == SMALL.n_vocab
    assert len(newer.texts) == len(set(newer.texts)) == SMALL.n_vocab + 1
    with pytest.raises(ApplianceError, match="do not make the model's vocabulary") as caught:
        read_vocabulary(ranks, 51864)
    assert caught.value.code == "mismatched_tokenizer"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "do not count"),
        (b"<html>", "can't be read"),
        (b"\xff\xfe", "can't be read"),
        (b"IQ== zero\n", "can't be read"),
        (b"IQ== 0\nIg== 2\n", "do not count"),
        (b"IQ== 0\nIg== 0\n", "do not count"),
    ],
)
def test_no_rank_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_bytes(content)
    with pytest.raises(ApplianceError, match=said):
        read_vocabulary(path, 51865)
    with pytest.raises(ApplianceError, match="can't be read"):
        read_vocabulary(tmp_path / "none", 51865)


def test_small_tokenizer_encodes_and_decodes(tmp_path: Path, vocabulary: Vocabulary) -> None:
    write_tokenizer_files(tmp_path, vocabulary, SMALL, HEADS)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode(" the heat", add_special_tokens=False).ids
    assert [vocabulary.ranks[index] for index in ids] == [b" the", b" ", b"he", b"a", b"t"]
    assert tokenizer.get_vocab_size() == SMALL.n_vocab
    assert 256 + len(MERGES) == TOKENS
    assert not (tmp_path / "preprocessor_config.json").exists()


def test_feature_size_of_128_band_models_is_written(tmp_path: Path, vocabulary: Vocabulary) -> None:
    from dataclasses import replace

    write_tokenizer_files(tmp_path, vocabulary, replace(SMALL, n_mels=128), HEADS)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["feature_size"] == 128


@pytest.mark.model
def test_files_of_base_are_those_published(manifest: Manifest, rank_files: dict[str, Path], tmp_path: Path) -> None:
    base = manifest.model("base")
    vocabulary = read_vocabulary(rank_files["multilingual"], base.dimensions.n_vocab)
    write_tokenizer_files(tmp_path, vocabulary, base.dimensions, base.alignment_heads)
    assert {name: sha256_file(tmp_path / name) for name in PUBLISHED} == PUBLISHED
    older = [text.replace("<|nospeech|>", "<|nocaptions|>") for text in vocabulary.texts]
    assert hashlib.sha256("".join(f"{text}\n" for text in older).encode()).hexdigest() == PUBLISHED_VOCABULARY_TXT


@pytest.mark.model
@pytest.mark.parametrize("name", ["base.en", "base", "large-v3"])
def test_every_published_vocabulary(manifest: Manifest, rank_files: dict[str, Path], tmp_path: Path, name: str) -> None:
    model = manifest.model(name)
    vocabulary = read_vocabulary(rank_files[model.tokenizer], model.dimensions.n_vocab)
    write_tokenizer_files(tmp_path, vocabulary, model.dimensions, model.alignment_heads)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = json.loads((tmp_path / "vocabulary.json").read_text())
    assert len(texts) == tokenizer.get_vocab_size() == model.dimensions.n_vocab
    assert [tokenizer.id_to_token(index) for index in range(len(texts))] == texts
    for sentence in SENTENCES:
        ids = tokenizer.encode(sentence, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == sentence
        assert b"".join(vocabulary.ranks[index] for index in ids) == sentence.encode()
    for index, token in enumerate(vocabulary.ranks):
        assert tokenizer.decode([index]) == token.decode("utf-8", errors="replace")
    _check_specials(WhisperTokenizer(tokenizer, False), vocabulary, model.dimensions)
    config = json.loads((tmp_path / "config.json").read_text())
    assert len(config["lang_ids"]) == len(vocabulary.languages) == (100 if name == "large-v3" else 99)
    assert (tmp_path / "preprocessor_config.json").exists() == (name == "large-v3")


def _check_specials(whisper: WhisperTokenizer, vocabulary: Vocabulary, dimensions: Dimensions) -> None:
    first = len(vocabulary.ranks)
    assert (whisper.eot, whisper.sot) == (first, first + 1)
    assert whisper.no_speech == whisper.no_timestamps - 1
    assert whisper.timestamp_begin + len(TIMESTAMPS) == dimensions.n_vocab
    assert whisper.decode_with_timestamps([whisper.timestamp_begin + 51]) == "<|1.02|>"
    assert whisper.tokenizer.encode("<|startoftranscript|><|2.00|>", add_special_tokens=False).ids == [
        whisper.sot,
        whisper.timestamp_begin + 100,
    ]


def test_written_ranks_read_back(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(write_ranks(tmp_path / "r"), SMALL.n_vocab)
    assert vocabulary.ranks[256:] == MERGES
