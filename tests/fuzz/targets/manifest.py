"""`models/manifest.yaml`, or a builder's own."""

from collections.abc import Iterator

from appliance.errors import ApplianceError
from appliance.manifest import load_manifest
from tests.conftest import ROOT
from tests.fuzz.material import put, scratch
from tests.fuzz.watch import documented

_SMALL = b"""\
version: 1
models:
  tiny: {licence: MIT, tokenizer: gpt2, alignment_heads: [[0, 0], [1, 1]], dimensions: {n_mels: 80, n_audio_ctx: 1500,
    n_audio_state: 128, n_audio_head: 2, n_audio_layer: 2, n_vocab: 51865, n_text_ctx: 448, n_text_state: 128,
    n_text_head: 2, n_text_layer: 2}, sources: [{kind: openai, url: "https://example.org/a.pt", format: pt, size: 3,
    sha256: abababababababababababababababababababababababababababababababab}]}
tokenizers:
  gpt2: {licence: MIT, languages: 99, sources: [{kind: local, path: a, format: tiktoken, size: 3,
    sha256: abababababababababababababababababababababababababababababababab}]}
"""


def seeds() -> Iterator[bytes]:
    yield _SMALL
    yield (ROOT / "models" / "manifest.yaml").read_bytes()


def words() -> Iterator[bytes]:
    yield from (
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!binary ",
        b"!!set ",
        b"!!timestamp ",
        b"!!int ",
        b"!!python/name:os.system ",
        b"? ",
        b"- ",
    )
    yield from (
        b"2024-13-45",
        b"0b",
        b"0o",
        b"1:99",
        b".nan",
        b"~",
        b"[a]: b",
        b"%YAML 9.9\n---\n",
        b"\t",
        b"kind: ",
        b"sources: ",
    )


def one(data: bytes) -> bool:
    if not (scratch() / "licences").exists():
        (scratch() / "licences").symlink_to(ROOT / "models" / "licences")
    try:
        load_manifest(put("manifest.yaml", data))
    except ApplianceError as error:
        documented(error, ("bad_manifest",))
        return False
    return True
