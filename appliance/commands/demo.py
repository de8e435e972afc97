"""``wlk-appliance demo``: run an image with networking off and stream a recording through it."""

import argparse
import json
from pathlib import Path

from appliance import log
from appliance.container.build import Names, require_image
from appliance.container.demo import check, demonstrate, join_recordings
from appliance.container.engine import Engine, LocalImage
from appliance.container.engine_setup import ensure_engine
from appliance.container.target import NO_DIARIZATION, load_target
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, load_manifest
from appliance.store import Store

DEFAULT_RECORDINGS = ("librivox-0870", "librivox-0890", "librivox-0920")
"""One reading, in order; 18 s with the pauses between."""

_BUILD = Path("build")


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    manifest = load_manifest(options.manifest)
    recordings = [manifest.recording(name) for name in options.recordings or DEFAULT_RECORDINGS]
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        files = [fetcher.fetch(recording).path for recording in recordings]
    audio = _BUILD / "demo.wav"
    audio_s = join_recordings(files, audio)
    reference = " ".join(recording.transcript for recording in recordings)

    models = tuple(manifest.model(name).name for name in options.model)
    engine = ensure_engine(_BUILD)
    target = load_target(options.target, diarization=options.diarization)
    image = require_image(engine, options.image or Names(target.name, models).full)
    heard = demonstrate(engine, image.name, audio)
    verdict = check(reference, heard)
    rows = [
        ("image", f"{image.name}  {image.size / 1e6:.0f} MB"),
        ("digest", image.image_id),
        ("pair", _pair(engine, image, models[0])),
        ("network", "none"),
        ("ready after", f"{heard.ready_s:.1f} s"),
        ("streamed", f"{audio_s:.1f} s of speech ({', '.join(item.name for item in recordings)}), real-time pace"),
        ("heard", heard.transcript),
        ("was said", reference),
        ("compared", verdict),
    ]
    print("\n".join(f"{label:<12} {text}" for label, text in rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance demo",
        description="Run an image with networking off, stream a recording through its WebSocket, and compare.",
    )
    parser.add_argument("--target", default="cpu", help="[%(default)s]")
    parser.add_argument(
        "--diarization", default=NO_DIARIZATION, metavar="NAME", help="what tells speakers apart [%(default)s]"
    )
    parser.add_argument(
        "--model", nargs="+", default=["base"], metavar="NAME", help="the image's models; the first is served [base]"
    )
    parser.add_argument("--image", metavar="NAME", help="an image by its name, instead of --target and --model")
    parser.add_argument(
        "--recordings", nargs="+", metavar="NAME", help=f"of the manifest (default: {' '.join(DEFAULT_RECORDINGS)})"
    )
    parser.add_argument("--offline", action="store_true", help="take recordings from the store only")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _pair(engine: Engine, image: LocalImage, model: str) -> str:
    """What the image's own pair.json says of the pair's name, source and sizes."""
    path = f"/models/{model}/pair.json"
    words = ["run", "--rm", "--network", "none", "--entrypoint", "cat", image.name, path]
    record = json.loads(engine.output(words))
    sizes, source = record["dimensions"], record["source"]
    return (
        f"{record['name']}  width {sizes['n_audio_state']}, {sizes['n_audio_layer']} + {sizes['n_text_layer']} layers; "
        f"from {source['kind']} ({source['format']}), sha256 {source['sha256'][:16]}"
    )
