"""``wlk-appliance bundle``: make, check and split what is carried to a site, and the keys that sign it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.build import Names, image_archive
from appliance.container.target import NO_DIARIZATION, load_target
from appliance.delivery.compression import COMPRESSIONS
from appliance.delivery.create import create_bundle
from appliance.delivery.delta import create_delta, read_base
from appliance.delivery.keys import fingerprint, generate, load_private, load_public
from appliance.delivery.parts import part_size, split_bundle
from appliance.delivery.verify import verify_bundle
from appliance.manifest import DEFAULT_MANIFEST, load_manifest

_BUILD, _DIST = Path("build"), Path("dist")


def main(argv: Sequence[str]) -> int:
    given = _parser().parse_args(argv)
    log.configure()
    match given.action:
        case "keygen":
            public, digits = generate(given.file)
            print(f"private key  {given.file}: keep it where bundles are made, and nowhere else")
            print(f"public key   {public}: give it to the sites")
            print(f"fingerprint  {digits}")
        case "create":
            _create(given)
        case "verify":
            key = load_public(given.key)
            one = verify_bundle(given.bundle, key)
            print(
                f"good: {one.target} with {' '.join(one.models)}, version {one.version}, for {one.architecture}; "
                f"{len(one.files)} files, signed with {fingerprint(key)}"
            )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance bundle", description="Make and check what is carried to a site, and the keys that sign it."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    keygen = actions.add_parser("keygen", help="make a key that signs bundles: FILE, and FILE.pub for the sites")
    keygen.add_argument("file", type=Path, metavar="FILE")
    create = actions.add_parser("create", help="make the bundle of an image that was built here, under dist/")
    create.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key that signs it")
    create.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    create.add_argument("--model", nargs="+", default=["base"], metavar="NAME", help="the image's models [base]")
    create.add_argument("--diarization", default=NO_DIARIZATION, metavar="NAME", help="the image's [%(default)s]")
    create.add_argument("--arch", metavar="NAME", help="the image's [this machine's]")
    create.add_argument(
        "--with-models", nargs="+", default=[], metavar="NAME", help="baked pairs to carry beside the image"
    )
    create.add_argument(
        "--compression",
        choices=COMPRESSIONS,
        default="zstd",
        help="of the image; Docker before 23 needs the program zstd at the site [%(default)s]",
    )
    create.add_argument(
        "--since", type=Path, metavar="BUNDLE", help="also a delta for a site that has this one (or its list alone)"
    )
    create.add_argument("--split", type=part_size, metavar="SIZE", help="cut the file into parts, such as 3900M")
    create.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    verify = actions.add_parser("verify", help="check a bundle's folder or file against its signed list")
    verify.add_argument("bundle", type=Path, metavar="BUNDLE")
    verify.add_argument("--key", type=Path, required=True, metavar="FILE", help="the public key of who made it")
    return parser


def _create(given: argparse.Namespace) -> None:
    manifest = load_manifest(given.manifest)
    target = load_target(given.target, diarization=given.diarization)
    models = [manifest.model(model).name for model in given.model]
    names = Names.of(target, models, target.architecture(given.arch))
    key = load_private(given.key)
    since = read_base(given.since) if given.since else None  # it may be what is replaced now
    bundle = create_bundle(
        names,
        _BUILD / "images",
        _DIST,
        key,
        pairs_dir=_BUILD / "pairs",
        extra_models=[manifest.model(model).name for model in given.with_models],
        compression=given.compression,
    )
    size = sum(entry.size for entry in bundle.contents.files)
    print(f"made {bundle.folder}  {len(bundle.contents.files)} files, {size / 1e6:.0f} MB")
    if given.split:
        parts = split_bundle(bundle.file, given.split, key)
        print(f"     {parts}  the same in {len(list(parts.glob('*.tar.*')))} parts")
    else:
        print(f"     {bundle.file}  the same as one file, {bundle.file.stat().st_size / 1e6:.0f} MB")
    if since:
        plain = image_archive(names, _BUILD / "images")
        delta = create_delta(bundle.folder, plain, since, key, compression=given.compression)
        size = sum(path.stat().st_size for path in delta.rglob("*") if path.is_file())
        print(f"     {delta}  for a site that has {given.since}, {size / 1e6:.1f} MB")
    print(f"signed with {fingerprint(key.public_key())}")
