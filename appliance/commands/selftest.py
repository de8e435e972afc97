"""``wlk-appliance selftest``: load a pair, transcribe the recordings that came with it, and compare."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.pair.locate import find_pair
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.engine import Engine, EngineConfig
from appliance.speech.session import StreamOptions
from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.words import word_errors

WORST_RATE = 0.25
"""Word error rate over which the test fails: a broken model makes 0.9 and more, a sound one far less."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance selftest", description="Load a pair, transcribe known recordings with it, and compare."
    )
    parser.add_argument(
        "--models-dir", type=Path, default=os.environ.get("WLK_MODELS_DIR", "/models"), help="[WLK_MODELS_DIR]"
    )
    parser.add_argument("--model", default=os.environ.get("WLK_MODEL", "base"), help="[WLK_MODEL]")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default=os.environ.get("WLK_DEVICE", "cpu"), help="[WLK_DEVICE]"
    )
    parser.add_argument("--samples", type=Path, help="folder of NAME.wav with NAME.txt (default: MODELS_DIR/samples)")
    given = parser.parse_args(argv)
    pair = find_pair(given.models_dir, given.model)
    samples: Path = given.samples or given.models_dir / "samples"
    recordings = sorted(samples.glob("*.wav"))
    if not recordings:
        raise ApplianceError(f"no recordings in {samples}", "name a folder of NAME.wav and NAME.txt with --samples")

    started = time.monotonic()
    engine = Engine.load(EngineConfig(pair, given.models_dir / "silero_vad.onnx", device=given.device))
    print(f"{pair.name}: loaded and warm in {time.monotonic() - started:.1f} s")
    try:
        failed = [recording.stem for recording in recordings if not _check(engine, recording)]
    finally:
        engine.close()
    if failed:
        raise ApplianceError(
            f"selftest failed on: {', '.join(failed)}", "the models or this build are damaged; build the image again"
        )
    print(f"selftest passed: {len(recordings)} recordings")
    return 0


def _check(engine: Engine, recording: Path) -> bool:
    reference = recording.with_suffix(".txt").read_text(encoding="utf-8").strip()
    started = time.monotonic()
    heard, seconds = transcribe(engine, recording)
    found = word_errors(reference, heard)
    factor = (time.monotonic() - started) / max(seconds, 1e-9)
    print(f"{recording.stem}: {heard}", flush=True)
    print(f"  {found.errors} errors in {found.words} words, real-time factor {factor:.2f}")
    return found.rate <= WORST_RATE


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
