"""The folder of a translation model, up to where CTranslate2 loads it. The first byte chooses which file this is."""

import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.translation.pieces import load_pieces
from appliance.translation.translator import look
from tests.fuzz.material import scratch
from tests.fuzz.pairs import ct2_file, ct2_variable
from tests.fuzz.watch import documented

_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "eng_Latn", "deu_Latn"]
_FILES = {
    b"m": "model.bin", b"c": "config.json", b"v": "shared_vocabulary.json", b"s": "pieces.model",
    b"t": "tokenizer.json",
}  # fmt: skip


@cache
def contents() -> dict[str, bytes]:
    import sentencepiece
    import tokenizers

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["good morning", "how are you"] * 20), model_writer=made, vocab_size=40,
        model_type="bpe", normalization_rule_name="identity", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    names = (
        "decoder/embeddings/weight",
        "encoder/position_encodings/encodings",
        "decoder/position_encodings/encodings",
    )
    variables = {name: ct2_variable(name, (len(_TOKENS), 1), 1, bytes(len(_TOKENS))) for name in names}
    pieces = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({token: number for number, token in enumerate(_TOKENS)}, "<unk>")
    )
    return {
        "model.bin": ct2_file(variables, "TransformerSpec"),
        "config.json": b'{"add_source_eos": false, "unk_token": "<unk>"}',
        "shared_vocabulary.json": json.dumps(_TOKENS).encode(),
        "pieces.model": made.getvalue(),
        "tokenizer.json": pieces.to_str().encode(),
    }


@cache
def _folder(without: str) -> Path:
    folder = scratch() / f"without-{without}"
    folder.mkdir()
    for name, data in contents().items():
        if name != without:
            (folder / name).write_bytes(data)
    return folder


def seeds() -> Iterator[bytes]:
    for kind, name in _FILES.items():
        yield kind + contents()[name]


def words() -> Iterator[bytes]:
    yield from (
        b'"eng_Latn"',
        b"null",
        b"[" * 900,
        b"1e999",
        b'"add_source_eos"',
        b'"model":',
        b'"type":"BPE"',
        b'"merges":[]',
    )
    yield ct2_variable("decoder/embeddings/weight", (), 1, b"\0")


def one(data: bytes) -> bool:
    name = _FILES.get(data[:1], "tokenizer.json")
    # SentencePiece's file goes first: without it the other tokenizer is read.
    folder = _folder("pieces.model" if name == "tokenizer.json" else "")
    file = folder / name
    file.write_bytes(data[1:])
    try:
        look(folder)
        pieces = load_pieces(folder)
        try:
            pieces.cut("good morning")
        except ValueError:
            return False  # `Translator` makes an error of it, as of what CTranslate2 says
    except ApplianceError as error:
        documented(error, ("bad_translation", "broken_model"))
        return False
    finally:
        file.write_bytes(contents()[name])
    return True
