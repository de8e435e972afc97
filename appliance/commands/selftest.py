"""``wlk-appliance selftest``: transcribe the recordings that came with the models, here or by a server, and compare."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import client
from appliance.client import ClientOptions
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair, find_pair
from appliance.server.flags import load_settings
from appliance.server.tokens import read_tokens
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.file import decode_file
from appliance.speech.config import EngineConfig
from appliance.speech.engine import Engine
from appliance.speech.session import StreamOptions
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.words import word_errors

WORST_RATE = 0.25
"""Word error rate over which the test fails: a broken model makes 0.9 and more, a sound one far less."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance selftest",
        description="Transcribe known recordings, with a pair loaded for it or by a running server, and compare.",
    )
    parser.add_argument(
        "--models-dir", type=Path, default=os.environ.get("WLK_MODELS_DIR", "/models"), help="[WLK_MODELS_DIR]"
    )
    parser.add_argument("--model", default=os.environ.get("WLK_MODEL", "base"), help="[WLK_MODEL]")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default=os.environ.get("WLK_DEVICE", "cpu"), help="[WLK_DEVICE]"
    )
    parser.add_argument("--samples", type=Path, help="folder of NAME.wav with NAME.txt (default: MODELS_DIR/samples)")
    parser.add_argument("--url", help="/asr of a running server: stream to it, with the token that it has in WLK_TOKEN")
    given = parser.parse_args(argv)
    pair = None if given.url else find_pair(given.models_dir, given.model)
    samples: Path = given.samples or given.models_dir / "samples"
    recordings = sorted(samples.glob("*.wav"))
    if not recordings:
        raise ApplianceError(f"no recordings in {samples}", "name a folder of NAME.wav and NAME.txt with --samples")

    if pair:
        failed = _here(pair, given.models_dir, given.device, recordings)
    else:
        options = ClientOptions(given.url, language="en", token=_token())
        failed = _failed(recordings, lambda recording: _by_server(options, recording))
    if failed:
        raise ApplianceError(
            f"selftest failed on: {', '.join(failed)}", "the models or this build are damaged; build the image again"
        )
    print(f"selftest passed: {len(recordings)} recordings")
    return 0


def _here(pair: Pair, models_dir: Path, device: str, recordings: Sequence[Path]) -> list[str]:
    started = time.monotonic()
    engine = Engine.load(EngineConfig(pair, models_dir / "silero_vad.onnx", device=device))
    print(f"{pair.name}: loaded and warm in {time.monotonic() - started:.1f} s")
    try:
        return _failed(recordings, lambda recording: transcribe(engine, recording))
    finally:
        engine.close()


def _failed(recordings: Sequence[Path], heard: Callable[[Path], tuple[str, float]]) -> list[str]:
    """Names of those that were not understood; ``heard`` gives a recording's text and its length in seconds."""
    return [recording.stem for recording in recordings if not _check(recording, heard)]


def _check(recording: Path, hear: Callable[[Path], tuple[str, float]]) -> bool:
    reference = recording.with_suffix(".txt").read_text(encoding="utf-8").strip()
    started = time.monotonic()
    heard, seconds = hear(recording)
    found = word_errors(reference, heard)
    factor = (time.monotonic() - started) / max(seconds, 1e-9)
    print(f"{recording.stem}: {heard}", flush=True)
    print(f"  {found.errors} errors in {found.words} words, real-time factor {factor:.2f}")
    return found.rate <= WORST_RATE


def _token() -> str | None:
    """As the server here has it: any of its tokens is good."""
    tokens = read_tokens(load_settings([]))
    return tokens[0].secret if tokens else None


def _by_server(options: ClientOptions, recording: Path) -> tuple[str, float]:
    pieces = list(decode_file(recording))
    return client.transcribe(pieces, options).committed, sum(map(len, pieces)) / SAMPLE_RATE_HZ


def transcribe(engine: Engine, recording: Path) -> tuple[str, float]:
    """The committed text of a recording, streamed as fast as it goes, and its length in seconds."""
    stream = engine.open_stream(StreamOptions(), lambda snapshot: None)
    decoder = AudioDecoder()
    samples = 0
    try:
        for piece in (*decoder.feed(recording.read_bytes()), *decoder.finish()):
            samples += len(piece)
            stream.feed(piece)
    finally:
        decoder.close()
    stream.finish()
    lines = [line.text for line in stream.wait().lines]
    return " ".join(line for line in lines if line), samples / SAMPLE_RATE_HZ
