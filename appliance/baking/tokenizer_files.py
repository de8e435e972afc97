"""``tokenizer.json``, ``vocabulary.json`` and ``config.json`` from OpenAI's own ``.tiktoken`` ranks.

Byte-level BPE as in Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). A
rank file gives each token's bytes and its rank; the Hugging Face format wants the two tokens each one
was merged from, which are what the lower ranks alone make of its bytes.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance.pair.dimensions import Dimensions

_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk
te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo
ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue
"""
LANGUAGES = tuple(_CODES.split())
"""Whisper's languages in the order of their tokens; models before large-v3 lack the last one."""

TIMESTAMPS = tuple(f"<|{step * 0.02:.2f}|>" for step in range(1501))

_BEFORE_LANGUAGES = ("<|endoftext|>", "<|startoftranscript|>")
_AFTER_LANGUAGES = (
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
_NEVER_SPOKEN = ("<|startoftranscript|>", *_AFTER_LANGUAGES[:-1])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A model's tokens: ``ranks`` are the text tokens' bytes by id; ``specials`` and `TIMESTAMPS` follow them."""

    ranks: tuple[bytes, ...]
    languages: tuple[str, ...]

    @property
    def specials(self) -> tuple[str, ...]:
        return (*_BEFORE_LANGUAGES, *(f"<|{code}|>" for code in self.languages), *_AFTER_LANGUAGES)

    @property
    def texts(self) -> list[str]:
        """Every entry by id, text tokens in the printable alphabet of byte-level BPE."""
        alphabet = byte_alphabet()
        words = ["".join(alphabet[byte] for byte in token) for token in self.ranks]
        return [*words, *self.specials, *TIMESTAMPS]

    def special_id(self, text: str) -> int:
        return len(self.ranks) + self.specials.index(text)


def read_vocabulary(ranks_file: Path, n_vocab: int) -> Vocabulary:
    """Read a ``.tiktoken`` file for a model of ``n_vocab`` entries.

    Raises:
        ApplianceError: unreadable, not a rank file, or of another size than the model needs.
    """
    try:
        rows = [line.split() for line in ranks_file.read_text(encoding="ascii").splitlines() if line.strip()]
        # The one empty token of the multilingual file is written as "=", which a strict decoder refuses.
        ranks = {int(rank): base64.b64decode(token) if token != "=" else b"" for token, rank in rows}
    except (OSError, ValueError) as error:
        raise _broken(ranks_file, f"it can't be read ({error})") from error
    tokens = tuple(ranks[rank] for rank in sorted(ranks))
    if sorted(ranks) != list(range(len(rows))) or not {bytes([byte]) for byte in range(256)} <= set(tokens):
        raise _broken(ranks_file, "its ranks do not count from 0 up, or do not hold every byte")
    languages = n_vocab - len(tokens) - len(_BEFORE_LANGUAGES) - len(_AFTER_LANGUAGES) - len(TIMESTAMPS)
    if languages not in (len(LANGUAGES) - 1, len(LANGUAGES)):
        raise ApplianceError(
            f"{ranks_file} has {len(tokens)} tokens, which do not make the model's vocabulary of {n_vocab}",
            "English-only models (51864) need gpt2.tiktoken, the others multilingual.tiktoken",
            code="mismatched_tokenizer",
        )
    return Vocabulary(tokens, LANGUAGES[:languages])


def write_tokenizer_files(
    folder: Path, vocabulary: Vocabulary, dimensions: Dimensions, heads: Sequence[tuple[int, int]]
) -> None:
    """Write the side files of a CTranslate2 Whisper folder: all that faster-whisper reads besides ``model.bin``."""
    _write(folder / "tokenizer.json", tokenizer_json(vocabulary), ascii_only=False)
    _write(folder / "vocabulary.json", vocabulary.texts)
    _write(folder / "config.json", config_json(folder / "tokenizer.json", vocabulary, heads), end="\n")
    if dimensions.n_mels != 80:
        # What faster-whisper's feature extractor takes its size from; without this file it assumes 80 bands.
        _write(
            folder / "preprocessor_config.json",
            {
                "chunk_length": 30,
                "feature_extractor_type": "WhisperFeatureExtractor",
                "feature_size": dimensions.n_mels,
                "hop_length": 160,
                "n_fft": 400,
                "n_samples": 480000,
                "nb_max_frames": 3000,
                "sampling_rate": 16000,
            },
        )


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of a Hugging Face ``tokenizer.json``: byte-level BPE, special tokens, timestamps."""
    alphabet = byte_alphabet()
    texts = vocabulary.texts
    first_special = len(vocabulary.ranks)
    first_timestamp = first_special + len(vocabulary.specials)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {
            "id": index,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": index >= first_timestamp,
            "special": index < first_timestamp,
        }
        for index, text in enumerate(texts[first_special:], first_special)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": _template(vocabulary),
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: index for index, text in enumerate(texts[:first_special])},
            "merges": [
                ["".join(alphabet[byte] for byte in half) for half in pair] for pair in merges(vocabulary.ranks)
            ],
        },
    }


def merges(ranks: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The two tokens each longer token was merged from, in rank order."""
    known = {token: rank for rank, token in enumerate(ranks)}
    pairs = []
    for rank, token in enumerate(ranks):
        if len(token) > 1:
            left, right = _last_two(token, known, rank)
            pairs.append((left, right))
    return pairs


def config_json(tokenizer_file: Path, vocabulary: Vocabulary, heads: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The content of a CTranslate2 Whisper ``config.json``, as the public converter fills it."""
    from faster_whisper.tokenizer import Tokenizer as WhisperTokenizer
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    not_speech = WhisperTokenizer(tokenizer, multilingual=False).non_speech_tokens
    never = {vocabulary.special_id(text) for text in _NEVER_SPOKEN}
    space = tokenizer.encode(" ", add_special_tokens=False).ids
    return {
        "alignment_heads": [list(pair) for pair in sorted(heads)],
        "lang_ids": [vocabulary.special_id(f"<|{code}|>") for code in vocabulary.languages],
        "suppress_ids": sorted({*not_speech, *never}),
        "suppress_ids_begin": [*space, vocabulary.special_id("<|endoftext|>")],
    }


def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte: itself, or the next one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in printable else chr(next(spare)) for byte in range(256))


def _last_two(token: bytes, known: dict[bytes, int], rank: int) -> tuple[bytes, bytes]:
    """Merge ``token``'s bytes by the ranks below ``rank`` until two parts are left."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        candidates = [
            (found, index)
            for index in range(len(parts) - 1)
            if (found := known.get(parts[index] + parts[index + 1], rank)) < rank
        ]
        if not candidates:
            raise ApplianceError(f"token {rank} ({token!r}) of the rank file can't be merged from lower ranks")
        _, index = min(candidates)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def _template(vocabulary: Vocabulary) -> dict[str, Any]:
    def special(text: str, kind: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": text, "type_id": kind}}

    def sequence(name: str, kind: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": kind}}

    start = [special("<|startoftranscript|>"), special("<|notimestamps|>"), sequence("A", 0)]
    used = ("<|endoftext|>", "<|notimestamps|>", "<|startoftranscript|>")
    return {
        "type": "TemplateProcessing",
        "single": [*start, special("<|endoftext|>")],
        "pair": [*start, sequence("B", 1), special("<|endoftext|>", 1)],
        "special_tokens": {text: {"id": text, "ids": [vocabulary.special_id(text)], "tokens": [text]} for text in used},
    }


def _write(path: Path, content: Any, *, ascii_only: bool = True, end: str = "") -> None:
    """Write JSON laid out as the libraries that usually write these files do, so that equal content is equal bytes."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=ascii_only) + end, encoding="utf-8")


def _broken(path: Path, why: str) -> ApplianceError:
    return ApplianceError(f"{path} is not a .tiktoken rank file: {why}", "fetch it again", code="broken_tokenizer")
