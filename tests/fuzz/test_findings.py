"""What hostile input did once, and does no more: each of these was no documented error, or took too much."""

import io
from collections.abc import Callable

import numpy as np
import pytest

from tests.fuzz.bundles import single, text
from tests.fuzz.material import recordings, wav
from tests.fuzz.pairs import TINY, ct2_file, ct2_variable, model_bin
from tests.fuzz.targets import load
from tests.fuzz.targets.session import frames
from tests.fuzz.targets.translation import contents


def _noted_wav(note: bytes) -> bytes:
    """A recording with a note about itself, in an older encoding than UTF-8."""
    sound = recordings()["wav-16k"]
    info = b"INFOINAM" + len(note).to_bytes(4, "little") + note + bytes(len(note) % 2)
    at = sound.index(b"data")
    return sound[:at] + b"LIST" + len(info).to_bytes(4, "little") + info + sound[at:]


def _endless_mp4(packets: int) -> bytes:
    """Its first fragment says that so many packets come, and nothing of each."""
    sound = bytearray(recordings()["mp4-alac"])
    at = sound.index(b"trun") + 4
    sound[at : at + 8] = b"\0\0\0\1" + packets.to_bytes(4, "big")
    return bytes(sound)


def _loud_wav(value: float) -> bytes:
    return wav(16000, 1, 32, np.full(8000, value, "<f4").tobytes(), tag=3)


def _model_with(name: str, shape: tuple[int, ...], data: bytes, kind: int = 1) -> bytes:
    """The small model with another variable of this name at its front."""
    count = model_bin().index((3).to_bytes(4, "little"), 18) + 4
    whole = model_bin()
    number = int.from_bytes(whole[count : count + 4], "little") + 1
    head = whole[:count] + number.to_bytes(4, "little")
    others = whole[count + 4 :].replace(name.encode() + b"\0", name.encode()[:-1] + b"_\0")
    return head + ct2_variable(name, shape, kind, data) + others


def _latin_folder() -> bytes:
    """A bundle's file whose folder has a name that is no UTF-8."""
    whole = bytearray(single(text().encode()))
    whole[0] = 0xE4
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    return bytes(whole)


def _checkpoint(**sizes: int) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save({"dims": TINY.as_dict() | sizes, "model_state_dict": {}}, out)
    return out.getvalue()


def _translator() -> bytes:
    halves = ("encoder", "decoder")
    names = ("decoder/embeddings/weight", *(f"{half}/position_encodings/encodings" for half in halves))
    return ct2_file({name: ct2_variable(name, (), 1, b"\1") for name in names}, "TransformerSpec")


FINDINGS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "half a character in a ping": ("control", lambda: b'{"type": "ping", "id": "\\ud800"}'),
    "no number in a ping": ("control", lambda: b'{"type": "ping", "id": NaN}'),
    "an endless number in a ping": ("control", lambda: b'{"type": "ping", "id": -1e999}'),
    "an origin that is no address": ("options", lambda: b"\nhttp://[\nBearer correct horse"),
    "a line that was cut off": ("batch", lambda: b'{"segment":{"text":"a'),
    "no line of ours": ("batch", lambda: b"[1]"),
    "a segment that lacks something": ("batch", lambda: b'{"segment":{"text":"a"}}'),
    "an error that lacks something": ("batch", lambda: b'{"error":{"code":"internal"}}'),
    "a deep line": ("batch", lambda: b"[" * 100_000),
    "a note in Latin 1": ("audio_file", lambda: _noted_wav(b"\xe4\xf6\xfc")),
    "a float that is no number": ("audio_stream", lambda: b"\0\0" + _loud_wav(np.nan)),
    "an endless float": ("audio_file", lambda: _loud_wav(np.inf)),
    "a float that is too loud": ("audio_stream", lambda: b"\0\0" + _loud_wav(1e30)),
    "a folder in Latin 1": ("bundle", lambda: b"f" + _latin_folder()),
    "a list in Latin 1": ("bundle", lambda: b"l" + text().encode() + b"\xe4\n"),
    "a size of too many digits": ("bundle", lambda: b"l" + text().replace(" 512 ", f" {'9' * 5000} ").encode()),
    "a manifest in Latin 1": ("manifest", lambda: b"version: \xe4"),
    "a number of 5000 digits": ("manifest", lambda: b"version: 0x" + b"f" * 5000),
    "a date that is none": ("manifest", lambda: b"version: 2024-13-45"),
    "a flag that is none": ("manifest", lambda: b"version: !!bool maybe"),
    "a number without digits": ("manifest", lambda: b'version: !!int ""'),
    "a list called a mapping": ("manifest", lambda: b"version: !!map [1]"),
    "a set as a key": ("manifest", lambda: b"? !!set {a, b}\n: 1"),
    "a deep manifest": ("manifest", lambda: b"version: " + b"[" * 5000),
    "half a character in a key": ("manifest", lambda: b'version: 1\nmodels: {}\n"\\ud800": 1'),
    "two numbers of heads": ("model_bin", lambda: _model_with("encoder/num_heads", (2,), b"\1\1")),
    "a norm of another size": ("model_bin", lambda: _model_with("decoder/layer_norm/gamma", (3,), bytes(12), kind=0)),
    "a deep record": ("pair_json", lambda: b"p" + b"[" * 100_000),
    "a tokenizer that is none": ("translation", lambda: b"t{}"),
    "a tokenizer without an unknown": (
        "translation",
        lambda: b"t" + contents()["tokenizer.json"].replace(b"<unk>", b"u"),
    ),
    "a vocabulary that is a number": ("translation", lambda: b"v5"),
    "a deep vocabulary": ("translation", lambda: b"v" + b"[" * 100_000),
    "a deep configuration": ("translation", lambda: b"c" + b"[" * 100_000),
    "embeddings without axes": ("translation", lambda: b"m" + _translator()),
    "a sound of one sample a second": ("audio_file", lambda: wav(1, 1, 32, bytes(32000), tag=3)),
    "a sound of 48 million samples a second": (
        "audio_stream",
        lambda: b"\0\0" + wav(48_000_001, 1, 32, bytes(32000), tag=3),
    ),
    "a stream of 30 million packets in one box": ("audio_stream", lambda: b"\0\0" + _endless_mp4(30_000_000)),
    "a file of 30 million packets in one box": ("audio_file", lambda: _endless_mp4(30_000_000)),
    "a billion layers": ("checkpoint", lambda: _checkpoint(n_text_layer=10**9)),
    "a pickle of nothing": ("checkpoint", lambda: b"\x80\x02."),
    "a pickle of a number where a list is": ("checkpoint", lambda: b"\x80\x02K\1a."),
    "a pickle cut off inside a number": ("checkpoint", lambda: b"\x80\x02G\0"),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_once_found(name: str) -> None:
    target, made = FINDINGS[name]
    load(target).attempt(made(), slower=10)


@pytest.mark.model
@pytest.mark.usefixtures("base_pair", "vad_file")
def test_a_message_that_comes_as_the_session_ends() -> None:
    """Its reader went on reading, and the session waited for it. That took chance: of sixty, a few hung."""
    session = load("session")
    data = frames("", b'{"type": "ping"e', b"", '{"type": "pin\ufffd\ufffd\ufffd\ufffd"id": 1}', 'e": "ping"}t', b"")
    for number in range(60):
        assert session.attempt(data, slower=10)[0]
        assert session.attempt(session.seeds[number % len(session.seeds)], slower=10)[0]


def test_a_recording_with_such_a_note_is_heard() -> None:
    assert load("audio_file").attempt(_noted_wav(b"\xe4\xf6\xfc"), slower=10)[0]
