"""``wlk-appliance image``: build or save a container image, list targets, show or compare archives."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from appliance import log
from appliance.container.accounts import differences, read_accounts, shown
from appliance.container.base import ensure_base
from appliance.container.build import Names, build_image, build_record, require_image
from appliance.container.commit import source_commit
from appliance.container.context import Context, shipped_items, stage_context
from appliance.container.engine import Engine, LocalImage
from appliance.container.engine_setup import ensure_engine
from appliance.container.kit import make_kit
from appliance.container.save import save_image
from appliance.container.sources import fetch_sources
from appliance.container.target import (
    NO_DIARIZATION,
    Target,
    can_run,
    diarizations,
    host_architecture,
    load_target,
    target_names,
)
from appliance.container.wheelhouse import target_wheels
from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, Manifest, load_manifest
from appliance.manifest.licences import POLICIES, check_licences
from appliance.store import Store

BUILD = Path("build")
DIST = Path("dist")
ARCHIVES = BUILD / "images"


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    match options.action:
        case "build":
            return _build(options)
        case "kit":
            return _kit(options)
        case "save":
            return _save(options)
        case "inspect":
            print("\n".join(shown(read_accounts(options.archive))))
        case "diff":
            lines = list(differences(read_accounts(options.archive), read_accounts(options.other)))
            print("\n".join(lines or ["the same image"]))
        case "list":
            print(_targets())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance image",
        description="Build or save a container image, list targets, show or compare archives.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build the image of a target, with networking off")
    kit = actions.add_parser("kit", help="pack all that a build needs under dist/, to repeat it without internet")
    save = actions.add_parser("save", help="save an image that was built here under dist/")
    for action in (build, kit, save):
        action.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
        action.add_argument(
            "--model", nargs="+", default=["base"], metavar="NAME", help="which baked pairs go in [base]"
        )
        action.add_argument(
            "--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s"
        )
        action.add_argument(
            "--diarization", default=NO_DIARIZATION, metavar="NAME", help="what tells speakers apart [%(default)s]"
        )
    for action in (build, kit):
        action.add_argument("--arch", metavar="NAME", help="amd64 or arm64 [this machine's]")
        action.add_argument(
            "--licence-policy",
            choices=POLICIES,
            default="any",
            help="what the models' licences must allow [%(default)s]",
        )
        action.add_argument("--offline", action="store_true", help="take model files from the store only")
        action.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    build.add_argument("--no-cache", action="store_true", help="do every step anew, even where nothing changed")
    inspect = actions.add_parser("inspect", help="show what an archive holds: layers, packages, models, licences")
    inspect.add_argument("archive", type=Path, metavar="ARCHIVE")
    diff = actions.add_parser("diff", help="compare what two archives hold")
    diff.add_argument("archive", type=Path, metavar="ARCHIVE")
    diff.add_argument("other", type=Path, metavar="OTHER")
    actions.add_parser("list", help="show each target: base, versions, what is compiled, expected size")
    return parser


@dataclass(frozen=True, slots=True)
class _Staged:
    """All that a build needs."""

    engine: Engine
    names: Names
    base: LocalImage
    context: Context


def _staged(options: argparse.Namespace, target: Target, architecture: str) -> _Staged:
    manifest = load_manifest(options.manifest)
    names = _names(options, manifest, target, architecture)
    check_licences(shipped_items(manifest, names.models, target.diarization), options.licence_policy)
    wheels = target_wheels(target, architecture, BUILD)
    sources = fetch_sources(target.sources, BUILD)
    engine = ensure_engine(BUILD)
    base = ensure_base(engine, target, architecture, BUILD / "base")
    record = build_record(target, architecture, names.models, base, sources, source_commit())
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        folder = BUILD / "context" / names.file
        context = stage_context(
            target, names.models, wheels, sources, manifest, fetcher, BUILD / "pairs", record, folder
        )
    return _Staged(engine, names, base, context)


def _names(options: argparse.Namespace, manifest: Manifest, target: Target, architecture: str) -> Names:
    return Names.of(target, (manifest.model(model).name for model in options.model), architecture)


def _build(options: argparse.Namespace) -> int:
    target = load_target(options.target, diarization=options.diarization)
    architecture = target.architecture(options.arch)
    if not can_run(architecture):
        raise ApplianceError(
            f"a build for {architecture} runs programs for it, and this machine ({host_architecture()}) can't",
            "carry a kit to such a machine (make kit), or install an emulator: apt-get install qemu-user-static",
        )
    one = _staged(options, target, architecture)
    image, built = build_image(one.engine, one.names, one.base, one.context, ARCHIVES, use_cache=not options.no_cache)
    print(f"{'built' if built else 'kept'} {image.name}  {image.image_id}")
    return 0


def _kit(options: argparse.Namespace) -> int:
    target = load_target(options.target, diarization=options.diarization)
    one = _staged(options, target, target.architecture(options.arch))
    folder = make_kit(one.engine, one.names, one.base, one.context, DIST)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"packed {folder}  {size / 1e6:.0f} MB; at the site: {folder.name}/build.sh")
    return 0


def _save(options: argparse.Namespace) -> int:
    manifest = load_manifest(options.manifest)
    target = load_target(options.target, diarization=options.diarization)
    image = require_image(ensure_engine(BUILD), _names(options, manifest, target, target.architectures[0]).full)
    names = _names(options, manifest, target, image.architecture)
    saved, is_new = save_image(names, image, ARCHIVES, DIST)
    print(
        f"{'saved' if is_new else 'kept'} {DIST / saved.file}  {saved.size / 1e6:.0f} MB  sha256:{saved.sha256}\n"
        f"  unpacked {saved.unpacked_size / 1e6:.0f} MB; what it holds: {DIST / names.file}.accounts"
    )
    return 0


def _targets() -> str:
    rows = []
    for name in target_names():
        target = load_target(name)
        rows += [
            f"{target.name}  ({', '.join(target.architectures)})",
            f"  base         {target.base}",
            f"  Python       {target.python}",
            f"  torch        {target.torch}",
            f"  CUDA         {target.cuda}",
            f"  CTranslate2  {target.ctranslate2}",
            f"  from source  {', '.join(f'{one.name} {one.version}' for one in target.sources) or 'nothing'}",
            "  baked        the pairs of MODEL, silero-vad, one recording for the self-test",
            f"  diarization  {' or '.join(diarizations(target.folder))}",
            f"  size         about {target.size_mb} MB with base",
        ]
    return "\n".join(rows)
