"""``wlk-appliance push``: copy an image that was built here into a registry, and read it back."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.archive import read_archive
from appliance.container.build import Names, require_archive
from appliance.container.engine_setup import ensure_engine
from appliance.container.registry import TOOLS, Upload, push, repository
from appliance.container.target import NO_DIARIZATION, load_target
from appliance.manifest import DEFAULT_MANIFEST, load_manifest

_BUILD = Path("build")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance push", description="Copy an image that was built here into a registry, and read it back."
    )
    parser.add_argument("--registry", required=True, metavar="HOST/FOLDER", help="such as host:5000/wlk")
    parser.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    parser.add_argument("--model", nargs="+", default=["base"], metavar="NAME", help="the image's models [base]")
    parser.add_argument("--diarization", default=NO_DIARIZATION, metavar="NAME", help="the image's [%(default)s]")
    parser.add_argument("--arch", metavar="NAME", help="the image's [this machine's]")
    parser.add_argument("--tool", choices=TOOLS, help="[the first that is there]")
    parser.add_argument(
        "--insecure", action="store_true", help="a registry without TLS, or with an unknown certificate"
    )
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    given = parser.parse_args(argv)
    log.configure()
    manifest, target = load_manifest(given.manifest), load_target(given.target, diarization=given.diarization)
    models = [manifest.model(model).name for model in given.model]
    names = Names.of(target, models, target.architecture(given.arch))
    archive = require_archive(names, _BUILD / "images")
    where = repository(given.registry, names.full)
    upload = Upload(archive, read_archive(archive).image_id, names.full, where, insecure=given.insecure)
    digest, tool = push(upload, given.tool, lambda: ensure_engine(_BUILD))
    print(f"pushed {upload.reference} with {tool}, and read it back; it can be pulled by its digest:")
    print(upload.by_digest(digest))
    return 0
