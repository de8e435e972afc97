"""A translation model of the NLLB or M2M100 kind, as a CTranslate2 folder. Imports CTranslate2."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ctranslate2

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import Ct2File, open_ct2
from appliance.translation.languages import Languages
from appliance.translation.pieces import joined, load_pieces

log = logging.getLogger(__name__)

BATCH = 8
"""Texts translated together, at most."""

_SPEC = "TransformerSpec"
_BEAM = 2
_LONGEST_PIECES = 256
"""Of a text, and of its translation, with language and end: what `sentences` gives has far fewer."""

_END = "</s>"
_COMPUTE_TYPE = {"cpu": "int8", "cuda": "float16"}


class Job(NamedTuple):
    """A text, and languages by any code that `Translator.languages` knows."""

    text: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class TranslationFiles:
    """A folder that was looked at, and not loaded yet."""

    folder: Path
    languages: Languages
    longest: int
    """Pieces of a text, at most."""
    adds_end: bool
    """Whether CTranslate2 itself ends each text."""


def look(folder: Path) -> TranslationFiles:
    """Check a folder by its small files and the header of the large one.

    Raises:
        ApplianceError: files are missing or broken, or it is a model of another kind.
    """
    if not folder.is_dir():
        raise _error(f"no such folder: {folder}")
    for name in ("model.bin", "config.json"):
        if not (folder / name).is_file():
            raise _error(f"no {name} in {folder}")
    with open_ct2(folder / "model.bin", _SPEC) as model:
        size = _rows(model, "decoder/embeddings/weight")
        positions = min(_rows(model, f"{half}/position_encodings/encodings") for half in ("encoder", "decoder"))
    vocabulary = _vocabulary(folder)
    if len(vocabulary) != size:
        raise _error(f"{folder}: its vocabulary has {len(vocabulary)} entries where model.bin has {size}")
    languages = Languages(set(vocabulary))
    if not languages.codes:
        raise _error(f"{folder}: its vocabulary names no languages, so it is neither NLLB nor M2M100")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        adds_end = bool(config.get("add_source_eos"))
    except (OSError, RecursionError, ValueError, AttributeError) as error:
        raise _error(f"can't read {folder / 'config.json'}: {error}") from error
    return TranslationFiles(folder, languages, min(_LONGEST_PIECES, positions), adds_end)


class Translator:
    """A loaded model. One thread at a time; on a CPU it computes in threads as nice as the one that makes it.

    Raises:
        ApplianceError: it can't be loaded, or does not run here.
    """

    def __init__(self, files: TranslationFiles, device: str = "cpu") -> None:
        self.languages = files.languages
        self._longest = files.longest
        self._ends = [] if files.adds_end else [_END]
        self._pieces = load_pieces(files.folder)
        try:
            self._model = ctranslate2.Translator(
                str(files.folder), device=device, compute_type=_COMPUTE_TYPE[device], inter_threads=1, intra_threads=1
            )
            self._run([Job(".", self.languages.codes[0], self.languages.codes[-1])])
        except (RuntimeError, ValueError) as error:
            raise _error(f"can't load {files.folder}: {error}") from error

    def translate(self, jobs: Sequence[Job]) -> list[str]:
        """The texts in their target languages, `BATCH` at most. Takes its time, about that of the longest one.

        Raises:
            RuntimeError, ValueError, MemoryError: as CTranslate2 raises them.
        """
        return self._run(jobs)

    def _run(self, jobs: Sequence[Job]) -> list[str]:
        room = self._longest - 2
        sources = [[self._token(job.source), *self._pieces.cut(job.text)[:room], *self._ends] for job in jobs]
        targets = [[self._token(job.target)] for job in jobs]
        results = self._model.translate_batch(
            sources,
            target_prefix=targets,
            beam_size=_BEAM,
            max_decoding_length=min(room, 16 + 3 * max(map(len, sources))),
        )
        return [joined(result.hypotheses[0][1:]) for result in results]

    def _token(self, code: str) -> str:
        token = self.languages.token(code)
        if token is None:
            raise ValueError(f"no language of this model: {code}")
        return token


def _rows(model: Ct2File, name: str) -> int:
    shape = model.variable(name).shape
    if not shape:
        raise _error(f"{model.path}: {name} has no axes")
    return shape[0]


def _vocabulary(folder: Path) -> list[str]:
    try:
        file = folder / "shared_vocabulary.json"
        if file.is_file():
            return [str(token) for token in json.loads(file.read_text(encoding="utf-8"))]
        file = folder / "shared_vocabulary.txt"
        if file.is_file():
            return file.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise _error(f"can't read {file}: {error}") from error
    raise _error(f"no shared_vocabulary.json or .txt in {folder}")


def _error(message: str) -> ApplianceError:
    return ApplianceError(
        message,
        "give the CTranslate2 folder of an NLLB-200 or M2M100 model with its tokenizer; see docs/translation.md",
        code="bad_translation",
    )
