"""The things the manifest lists, and looking them up by name."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import Field, StrictInt, StrictStr, ValidationInfo, field_validator

from appliance.errors import ApplianceError
from appliance.manifest.sources import AnySource, FileInside, Record, from_manifest_folder
from appliance.pair.dimensions import HEAD_WIDTH, Dimensions

Text = Annotated[StrictStr, Field(min_length=1)]
Count = Annotated[StrictInt, Field(gt=0)]
Head = tuple[Annotated[StrictInt, Field(ge=0)], Annotated[StrictInt, Field(ge=0)]]


class Licensed(Record):
    """What has a name and a licence. ``licence_text``: a file that goes along with it."""

    name: Text
    aliases: tuple[Text, ...] = ()
    licence: Text
    licence_text: Path | None = None

    @field_validator("licence_text", mode="before")
    @classmethod
    def _is_there(cls, value: object, info: ValidationInfo) -> Path:
        text = from_manifest_folder(value, info)
        if not text.is_file():
            raise ValueError("expected a file in the manifest's folder")
        return text


class Item(Licensed):
    """A single file to obtain. ``sources`` are tried in order."""

    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...


NamedType = TypeVar("NamedType", bound=_Named)


class WhisperModel(Item):
    """The weights of a Whisper model, as a CTranslate2 ``model.bin`` or an OpenAI checkpoint.

    ``alignment_heads`` are (decoder layer, head) pairs, counted from 0.
    """

    tokenizer: Text
    dimensions: Dimensions
    alignment_heads: Annotated[tuple[Head, ...], Field(min_length=1)]

    @field_validator("dimensions")
    @classmethod
    def _consistent(cls, sizes: Dimensions) -> Dimensions:
        for state, heads in ((sizes.n_audio_state, sizes.n_audio_head), (sizes.n_text_state, sizes.n_text_head)):
            if state != heads * HEAD_WIDTH:
                raise ValueError(f"expected a width of heads x {HEAD_WIDTH}, not {state} for {heads} heads")
        if min(sizes.as_dict().values()) < 1:
            raise ValueError("expected sizes above zero")
        return sizes

    @field_validator("alignment_heads")
    @classmethod
    def _inside_the_decoder(cls, heads: tuple[Head, ...], info: ValidationInfo) -> tuple[Head, ...]:
        sizes = info.data.get("dimensions")
        if sizes is not None:
            for layer, head in heads:
                if layer >= sizes.n_text_layer or head >= sizes.n_text_head:
                    raise ValueError(
                        f"expected layers below {sizes.n_text_layer} and heads below {sizes.n_text_head}, "
                        f"not [{layer}, {head}]"
                    )
        if len(set(heads)) != len(heads):
            raise ValueError("expected each [layer, head] pair once")
        return heads

    @field_validator("sources")
    @classmethod
    def _of_weights(cls, sources: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        for source in sources:
            if source.format not in ("ct2", "pt"):
                raise ValueError(f"expected the format ct2 or pt for a model, not {source.format}")
        return sources


class Tokenizer(Item):
    """A rank file of the byte-pair encoding; ``languages`` counts the language tokens after the ranks."""

    languages: Count


class Asset(Item):
    kind: Literal["vad", "diarizer"]

    @property
    def place(self) -> str:
        """Where a server looks for it, in the folder of models."""
        return "silero_vad.onnx" if self.kind == "vad" else f"diarizer/{self.name}.{self.sources[0].format}"


class TranslationModel(Licensed):
    """A model that translates, as a folder: its files by their names there, each with its sources."""

    files: Annotated[Mapping[FileInside, Annotated[tuple[AnySource, ...], Field(min_length=1)]], Field(min_length=1)]

    @property
    def items(self) -> tuple[Item, ...]:
        """Each file, named after the model and itself."""
        return tuple(
            Item.model_construct(  # all of it was checked with the model
                name=f"{self.name}/{file}", licence=self.licence, licence_text=self.licence_text, sources=sources
            )
            for file, sources in self.files.items()
        )


class Recording(Item):
    """A short recording of speech with its transcript; ``language`` is a code such as ``en``."""

    language: Text
    transcript: Text


class Manifest(Record):
    """Everything that can be fetched. Names and aliases are unique over all groups."""

    version: Literal[1]
    models: Mapping[str, WhisperModel]
    tokenizers: Mapping[str, Tokenizer] = {}
    assets: Mapping[str, Asset] = {}
    translators: Mapping[str, TranslationModel] = {}
    recordings: Mapping[str, Recording] = {}

    def items(self) -> Iterator[Item]:
        for group in (self.models, self.tokenizers, self.assets):
            yield from group.values()
        for translator in self.translators.values():
            yield from translator.items
        yield from self.recordings.values()

    def item(self, name: str) -> Item:
        """Any item by name or alias; an unknown name raises an error that lists close ones."""
        return _look_up(name, {item.name: item for item in self.items()}, "name")

    def model(self, name: str) -> WhisperModel:
        """A model by name or alias (``large`` is ``large-v3``)."""
        return _look_up(name, self.models, "model")

    def tokenizer(self, name: str) -> Tokenizer:
        return _look_up(name, self.tokenizers, "tokenizer")

    def asset(self, name: str) -> Asset:
        return _look_up(name, self.assets, "asset")

    def translator(self, name: str) -> TranslationModel:
        return _look_up(name, self.translators, "translator")

    def recording(self, name: str) -> Recording:
        return _look_up(name, self.recordings, "recording")


def _look_up(name: str, group: Mapping[str, NamedType], what: str) -> NamedType:
    by_name = {alias: item for item in group.values() for alias in (item.name, *item.aliases)}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, 3, 0.5)
    raise ApplianceError(
        f"unknown {what}: {name!r}",
        f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(by_name)}",
        code=f"unknown_{what}",
    )
