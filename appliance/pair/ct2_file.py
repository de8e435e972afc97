"""Reading a CTranslate2 ``model.bin`` without loading it.

Layout (binary version 6, little-endian), as written by CTranslate2's own ``ModelSpec``: u32 version,
string specification name, u32 revision, u32 count, then per variable: string name, u8 rank, u32 sizes,
u8 type, u32 bytes, data; then u32 count of aliases, each two strings. A string is a u16 length that
counts its closing NUL.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.pair.dimensions import HEAD_WIDTH, Dimensions

BINARY_VERSION = 6
SPEC_NAME = "WhisperSpec"

# In the order of the type numbers. numpy has no bfloat16: such data can be sized but not read.
TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_ITEM_BYTES = (4, 1, 2, 4, 2, 2)
_MAX_NAME_BYTES = 512
_MAX_RANK = 4
_MAX_VARIABLES = 20_000


@dataclass(frozen=True, slots=True)
class Variable:
    """Where one variable lies in the file; ``dtype`` is its type's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    size: int


class Ct2File:
    """The contents table of a ``model.bin``; arrays are read-only views of the mapped file.

    Used as a context, it lets go of the file at the end; no array of it may be left then.
    """

    def __init__(
        self, path: Path, data: mmap.mmap, revision: int, variables: dict[str, Variable], aliases: dict[str, str]
    ) -> None:
        self.path = path
        self.revision = revision
        self.variables = variables
        self.aliases = aliases
        self._data = data

    def variable(self, name: str) -> Variable:
        """The variable of this name, following an alias.

        Raises:
            ApplianceError: the model has no such variable.
        """
        found = self.variables.get(self.aliases.get(name, name))
        if found is None:
            raise _broken(self.path, f"it has no variable {name!r}, which every model of its kind has")
        return found

    def array(self, name: str) -> NDArray[Any]:
        """A variable's values, as they are stored.

        Raises:
            ApplianceError: no such variable, or its type has no numpy equivalent (bfloat16).
        """
        found = self.variable(name)
        if found.dtype == "bfloat16":
            raise ApplianceError(
                f"{self.path}: {name} is bfloat16, which can't be read here", "use a float16 conversion of the model"
            )
        return np.frombuffer(
            self._data, np.dtype(found.dtype), count=found.size // np.dtype(found.dtype).itemsize, offset=found.offset
        ).reshape(found.shape)

    def stored(self, variable: Variable, size: int) -> bytes:
        """The first ``size`` bytes of a variable, as they are in the file."""
        return self._data[variable.offset : variable.offset + size]

    def __enter__(self) -> "Ct2File":
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def dimensions(self) -> Dimensions:
        """The model's sizes, from the shapes of its weights.

        Raises:
            ApplianceError: weights are missing, or contradict each other.
        """
        width, mels, kernel = self._shape("encoder/conv1/weight", 3)
        audio_ctx, audio_width = self._shape("encoder/position_encodings/encodings", 2)
        vocab, text_width = self._shape("decoder/embeddings/weight", 2)
        text_ctx, position_width = self._shape("decoder/position_encodings/encodings", 2)
        if kernel != 3 or len({width, audio_width, text_width, position_width}) != 1:
            raise _broken(self.path, f"its widths disagree ({width}, {audio_width}, {text_width}, {position_width})")
        return Dimensions(
            n_mels=mels,
            n_audio_ctx=audio_ctx,
            n_audio_state=width,
            n_audio_head=self._heads("encoder", width),
            n_audio_layer=self._layers("encoder"),
            n_vocab=vocab,
            n_text_ctx=text_ctx,
            n_text_state=text_width,
            n_text_head=self._heads("decoder", width),
            n_text_layer=self._layers("decoder"),
        )

    def _shape(self, name: str, rank: int) -> tuple[int, ...]:
        shape = self.variable(name).shape
        if len(shape) != rank:
            raise _broken(self.path, f"{name} has {len(shape)} axes instead of {rank}")
        return shape

    def _heads(self, half: str, width: int) -> int:
        name = f"{half}/num_heads"
        if name not in self.variables:  # conversions before CTranslate2 3 don't say
            return width // HEAD_WIDTH
        self._shape(name, 0)
        return int(self.array(name))

    def _layers(self, half: str) -> int:
        count = 0
        while f"{half}/layer_{count}/ffn/linear_0/weight" in self.variables:
            count += 1
        if count == 0:
            raise _broken(self.path, f"its {half} has no layers")
        return count


def open_ct2(path: Path, expected: str = SPEC_NAME) -> Ct2File:
    """Map a ``model.bin`` and read its contents table; no weight is read.

    Raises:
        ApplianceError: missing, truncated, or no CTranslate2 model of the expected specification and a known version.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ApplianceError(
            f"no such file: {path}", "an encoder folder holds a CTranslate2 model.bin", code="missing_encoder"
        ) from error
    except (ValueError, OSError) as error:  # mmap refuses an empty file with ValueError
        raise _broken(path, f"it can't be mapped ({error})") from error
    scan = _Scan(path, data)
    version = scan.number("I", "a version number")
    if version != BINARY_VERSION:
        raise _broken(path, f"it starts with {version} where binary version {BINARY_VERSION} was expected")
    spec = scan.text("a specification name")
    if spec != expected:
        raise _broken(path, f"it holds a {spec!r} where a {expected!r} was expected")
    revision = scan.number("I", "a revision")
    variables = {}
    for _ in range(scan.count("variables")):
        variable = scan.variable()
        variables[variable.name] = variable
    aliases = {}
    for _ in range(scan.count("aliases")):
        alias = scan.text("an alias")
        aliases[alias] = scan.text("the target of an alias")
    if scan.at != len(data):
        raise _broken(path, f"{len(data) - scan.at} bytes follow its end")
    return Ct2File(path, data, revision, variables, aliases)


class _Scan:
    """A cursor over the mapped file that never trusts what it reads."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 0

    def number(self, kind: str, what: str) -> int:
        size = struct.calcsize(f"<{kind}")
        if self.at + size > len(self.data):
            raise _broken(self.path, f"it ends at byte {len(self.data)} where {what} was expected")
        value: int = struct.unpack_from(f"<{kind}", self.data, self.at)[0]
        self.at += size
        return value

    def count(self, what: str) -> int:
        value = self.number("I", f"the number of {what}")
        if value > _MAX_VARIABLES:
            raise _broken(self.path, f"it claims {value} {what}")
        return value

    def text(self, what: str) -> str:
        size = self.number("H", f"the length of {what}")
        if not 1 <= size <= _MAX_NAME_BYTES or self.at + size > len(self.data):
            raise _broken(self.path, f"{what} of {size} bytes was found at byte {self.at}")
        raw = self.data[self.at : self.at + size]
        self.at += size
        if raw[-1] != 0 or not raw[:-1].isascii():
            raise _broken(self.path, f"{what} at byte {self.at - size} is not a text")
        return raw[:-1].decode("ascii")

    def variable(self) -> Variable:
        name = self.text("a variable name")
        rank = self.number("B", f"the rank of {name}")
        if rank > _MAX_RANK:
            raise _broken(self.path, f"{name} has rank {rank}")
        shape = tuple(self.number("I", f"the shape of {name}") for _ in range(rank))
        kind = self.number("B", f"the type of {name}")
        size = self.number("I", f"the size of {name}")
        items = 1
        for axis in shape:
            items *= axis
        if kind >= len(TYPES) or size != items * _ITEM_BYTES[kind]:
            raise _broken(self.path, f"{name} has shape {shape} of type {kind}, but {size} bytes")
        if self.at + size > len(self.data):
            raise _broken(
                self.path, f"it ends at byte {len(self.data)}, inside {name} (which ends at {self.at + size})"
            )
        variable = Variable(name, shape, TYPES[kind], self.at, size)
        self.at += size
        return variable


def _broken(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        f"{path} is not a usable CTranslate2 model: {why}",
        "it may be truncated or of another kind: copy or fetch it again",
        code="broken_model",
    )
