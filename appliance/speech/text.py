"""Tokens and words: the special tokens of a model, and how decoded tokens split into words."""

import string
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from faster_whisper.tokenizer import Tokenizer

from appliance.errors import ApplianceError
from appliance.pair.dimensions import Dimensions
from appliance.speech.hypothesis import Task

# Languages whose words are not set apart by spaces: faster-whisper splits them at every character.
_NO_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})

# Marks that belong to the word before them, beyond ASCII punctuation.
_CLOSING = string.punctuation + "。，、！？：；」』）》”’…"

# Marks that may follow a word that is complete.
_ENDING = '.,!?;:)]}"%…'

# What stands for bytes that make no character.
_INCOMPLETE = "\ufffd"

# How a byte-level tokenizer writes the space in front of a word.
_SPACE = "Ġ"


class TextCodec:
    """The tokenizer of a pair with the prompts Whisper expects; read-only after loading."""

    def __init__(self, tokenizer_file: Path, dimensions: Dimensions) -> None:
        """Load ``tokenizer.json`` from a local path.

        Raises:
            ApplianceError: the file is missing or does not belong to a model of these dimensions.
        """
        if not tokenizer_file.is_file():
            raise ApplianceError(
                f"no tokenizer at {tokenizer_file}",
                "copy tokenizer.json of the model into its encoder folder, or bake the pair",
                code="missing_model",
            )
        self._raw = tokenizers.Tokenizer.from_file(str(tokenizer_file))
        if self._raw.get_vocab_size() != dimensions.n_vocab:
            raise ApplianceError(
                f"{tokenizer_file} has {self._raw.get_vocab_size()} tokens, the model {dimensions.n_vocab}",
                "use the tokenizer.json that belongs to the model",
                code="mismatched_pair",
            )
        self._is_multilingual = dimensions.is_multilingual
        base = self._tokenizer("en")
        self.sot, self.sot_prev, self.eot = base.sot, base.sot_prev, base.eot
        self.no_speech, self.no_timestamps = base.no_speech, base.no_timestamps
        self.blank = (*base.encode(" "), base.eot)
        """What may not come first: a space, or the end."""
        self.language_tokens = self._find_languages(base)
        self.suppressed = self._find_suppressed(base, dimensions.n_vocab)
        self.continuations = frozenset(token for token in range(base.eot) if self._continues(token))
        """Tokens that lengthen the word before them: no space in front, and no mark that ends a word."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages the model knows, "en" alone for an English-only one."""
        return tuple(self.language_tokens) or ("en",)

    def after_sot(self, language: str, task: Task = "transcribe") -> list[int]:
        """The forced tokens between start-of-transcript and the text."""
        tokenizer = self._tokenizer(language, task)
        return [*tokenizer.sot_sequence[1:], tokenizer.no_timestamps]

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of a text, as it would stand in a transcript."""
        return tuple(self._tokenizer("en").encode(" " + text.strip()))

    def words(self, ids: Sequence[int], language: str) -> list[tuple[str, list[int]]]:
        """Split tokens into words with their tokens: leading spaces kept, marks joined to the word before.

        Where words are set apart by spaces, only a space begins one: "ill-disposed" is a single word, so
        that its first half is never committed alone.

        Tokens of an incomplete UTF-8 sequence at the end are left out.
        """
        tokenizer = self._tokenizer(language)
        whole = list(ids)
        while whole and tokenizer.decode(whole).endswith(_INCOMPLETE):
            whole.pop()
        texts, groups = tokenizer.split_to_word_tokens(whole)
        words: list[tuple[str, list[int]]] = []
        for text, group in zip(texts, groups, strict=True):
            stripped = text.strip()
            joins = self.has_spaces(language) or all(mark in _CLOSING for mark in stripped)
            if words and not text.startswith(" ") and joins:
                words[-1] = (words[-1][0] + text, words[-1][1] + group)
            else:
                words.append((text, group))
        return words

    def has_spaces(self, language: str) -> bool:
        """Whether the language sets its words apart by spaces."""
        return language not in _NO_SPACES

    def _continues(self, token: int) -> bool:
        text = str(self._raw.id_to_token(token) or "")
        return bool(text) and text[0] != _SPACE and text[0] not in _ENDING

    def _tokenizer(self, language: str, task: Task = "transcribe") -> Tokenizer:
        return Tokenizer(self._raw, self._is_multilingual, task=task, language=language)

    def _find_languages(self, base: Tokenizer) -> dict[str, int]:
        if not self._is_multilingual:
            return {}
        tokens = range(base.sot + 1, min(base.translate, base.transcribe))
        return {str(self._raw.id_to_token(token))[2:-2]: token for token in tokens}

    @staticmethod
    def _find_suppressed(base: Tokenizer, n_vocab: int) -> tuple[int, ...]:
        """Sound descriptions, and everything above end-of-text: special tokens and timestamps."""
        return tuple(sorted({*base.non_speech_tokens, *range(base.eot + 1, n_vocab)}))
