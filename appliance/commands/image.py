"""``wlk-appliance image``: build, save or inspect a container image."""

import argparse
from pathlib import Path

from appliance import log
from appliance.container.base import ensure_base
from appliance.container.context import stage_context
from appliance.container.engine import ensure_engine
from appliance.container.image import Image, build_image, image_name, require_image, save_image
from appliance.container.wheelhouse import target_wheels
from appliance.errors import UsageError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, load_manifest
from appliance.store import Store

BUILD = Path("build")
DIST = Path("dist")
TARGETS = Path("images")


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    target_dir = TARGETS / options.target
    if not (target_dir / "Dockerfile").is_file():
        known = ", ".join(sorted(path.parent.name for path in TARGETS.glob("*/Dockerfile")))
        raise UsageError(f"unknown target: {options.target!r} (no {target_dir}/Dockerfile)", f"one of: {known}")
    if options.action == "build":
        return _build(target_dir, options)
    model = load_manifest(options.manifest).model(options.model).name
    engine = ensure_engine(BUILD)
    image = require_image(engine, image_name(options.target, model))
    if options.action == "inspect":
        print(_shown(image))
        return 0
    archive, saved = save_image(engine, image, options.target, model, DIST)
    print(f"{'saved' if saved else 'kept'} {archive.path}  {archive.size / 1e6:.0f} MB  sha256:{archive.sha256}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance image", description="Build, save or inspect a container image."
    )
    parser.add_argument("action", choices=("build", "save", "inspect"))
    parser.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    parser.add_argument("--model", default="base", metavar="NAME", help="which baked pair goes in [%(default)s]")
    parser.add_argument(
        "--offline", action="store_true", help="build from what is in the store, fetching no model file"
    )
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _build(target_dir: Path, options: argparse.Namespace) -> int:
    manifest = load_manifest(options.manifest)
    model = manifest.model(options.model).name
    wheels = target_wheels(target_dir, BUILD)
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        folder = BUILD / "context" / f"{target_dir.name}-{model}"
        context = stage_context(target_dir, model, wheels, manifest, fetcher, BUILD / "pairs", folder)
    engine = ensure_engine(BUILD)
    base = ensure_base(engine, target_dir / "Dockerfile", BUILD / "base")
    image, built = build_image(engine, target_dir, model, base, context)
    print(f"{'built' if built else 'kept'} {_shown(image)}")
    return 0


def _shown(image: Image) -> str:
    rows = [f"{image.name}  {image.size / 1e6:.0f} MB  {image.image_id}"]
    rows += [f"  {size / 1e6:8.1f} MB  {_step(step)}" for size, step in image.layers if size >= 100_000]
    return "\n".join(rows)


def _step(created_by: str) -> str:
    return " ".join(created_by.replace("# buildkit", "").removeprefix("/bin/sh -c #(nop) ").split())[:90]
