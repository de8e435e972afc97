"""A tiny translation model: trained on a few sentences, and converted as the real ones are."""

import io
import itertools
import json
import logging
from pathlib import Path
from typing import Any, Literal

SENTENCES = (
    {"en": "Good morning.", "de": "Guten Morgen.", "zh": "早上好。"},
    {"en": "How are you?", "de": "Wie geht es dir?", "zh": "你好吗？"},
    {"en": "The house is red.", "de": "Das Haus ist rot.", "zh": "房子是红色的。"},
    {"en": "Where is the station?", "de": "Wo ist der Bahnhof?", "zh": "车站在哪里？"},
    {"en": "Thank you very much.", "de": "Vielen Dank.", "zh": "非常感谢。"},
    {"en": "I have a question", "de": "Ich habe eine Frage", "zh": "我有一个问题"},
)
"""All that the model knows, in each of its languages."""

TOKENS = {
    "nllb": {"en": "eng_Latn", "de": "deu_Latn", "zh": "zho_Hans"},
    "m2m100": {"en": "__en__", "de": "__de__", "zh": "__zh__"},
}
_MADE_UP = 8
_STEPS = 150

Kind = Literal["nllb", "m2m100"]


def train_pieces(folder: Path) -> Path:
    """A SentencePiece model of these sentences, of the kind of NLLB's and M2M100's."""
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for row in SENTENCES for text in row.values()] * 20),
        model_writer=made,
        vocab_size=230,
        model_type="bpe",
        character_coverage=1.0,
        minloglevel=2,
    )
    file = folder / "sentencepiece.bpe.model"
    file.write_bytes(made.getvalue())
    return file


def make_model(folder: Path, kind: Kind) -> Path:
    """A model that knows `SENTENCES`, as a CTranslate2 folder with both forms of its tokenizer where it has both."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import M2M100Config, M2M100ForConditionalGeneration
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    original = folder / "original"
    original.mkdir(parents=True)
    tokenizer = _tokenizer(original, kind)
    torch.manual_seed(0)
    model = M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=len(tokenizer) + _MADE_UP, d_model=64, encoder_layers=1, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128,
            max_position_embeddings=64, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
            encoder_layerdrop=0.0, decoder_layerdrop=0.0,
        )
    )  # fmt: skip
    _train(model, tokenizer, TOKENS[kind])
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)
    files = ["sentencepiece.bpe.model", *(["tokenizer.json"] if kind == "nllb" else [])]
    made = folder / kind
    TransformersConverter(str(original), copy_files=files).convert(str(made), quantization="int8")
    return made


def _tokenizer(folder: Path, kind: Kind) -> Any:
    from sentencepiece import SentencePieceProcessor
    from transformers import M2M100Tokenizer, NllbTokenizer

    file = train_pieces(folder)
    languages = list(TOKENS[kind].values())
    if kind == "nllb":
        return NllbTokenizer.from_pretrained(folder, extra_special_tokens=languages)
    pieces = SentencePieceProcessor(model_file=str(file))
    known = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    vocabulary = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *known])
    numbered = {piece: number for number, piece in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbered), encoding="utf-8")
    return M2M100Tokenizer(str(folder / "vocab.json"), str(file), extra_special_tokens=languages)


def _train(model: Any, tokenizer: Any, tokens: dict[str, str]) -> None:
    """Every sentence, from each language into each other one."""
    import torch

    ends = tokenizer.convert_tokens_to_ids(["</s>"])
    pairs = []
    for row in SENTENCES:
        said = {
            code: [
                tokenizer.convert_tokens_to_ids(tokens[code]),
                *tokenizer.encode(text, add_special_tokens=False),
                *ends,
            ]
            for code, text in row.items()
        }
        pairs += [(said[source], said[target]) for source, target in itertools.permutations(row, 2)]
    pad = tokenizer.convert_tokens_to_ids("<pad>")

    def padded(rows: list[list[int]], filling: int) -> torch.Tensor:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows])

    inputs = padded([source for source, _ in pairs], pad)
    # The decoder begins with </s> and is given the language, so that is not to be guessed.
    given = padded([[*ends, *target[:-1]] for _, target in pairs], pad)
    labels = padded([[-100, *target[1:]] for _, target in pairs], -100)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(_STEPS):
        loss = model(input_ids=inputs, attention_mask=inputs != pad, decoder_input_ids=given, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    assert loss.item() < 0.05, loss.item()
