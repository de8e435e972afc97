"""``wlk-appliance fetch``: obtain and verify what the manifest lists."""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from appliance import log
from appliance.errors import ApplianceError, UsageError
from appliance.fetch import Artifact, Fetcher
from appliance.manifest import DEFAULT_MANIFEST, Item, Manifest, WhisperModel, load_manifest
from appliance.manifest.items import Asset
from appliance.manifest.licences import POLICIES, check_licences
from appliance.store import Store

_OF_ONE_ITEM = ("fetch_failed", "not_in_store")
"""Failures after which the other items are still worth a try."""

_LICENCE_FILE = "licence.txt"
"""In a translator's folder."""


def main(argv: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    log.configure()
    manifest = load_manifest(options.manifest)
    store = Store.configured(options.store)
    if options.list:
        for item in manifest.items():
            print(_listed(item, store))
        return 0
    wanted = _wanted(manifest, options)
    if not wanted:
        raise UsageError("nothing to fetch", "name a model, for example `wlk-appliance fetch base`, or see --list")
    check_licences(wanted, options.licence_policy)
    failures: list[ApplianceError] = []
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    with Fetcher(store, offline=options.offline) as fetcher:
        for item in wanted:
            formats = (options.format,) if options.format and isinstance(item, WhisperModel) else None
            try:
                artifact = fetcher.fetch(item, formats)
                print(_fetched(item, artifact), flush=True)
                if options.out:
                    place = item.place if isinstance(item, Asset) else item.name.rpartition("/")[2]
                    _lay(artifact.path, options.out / place)
            except ApplianceError as error:
                if error.code not in _OF_ONE_ITEM:
                    raise
                failures.append(error)
    if options.out:
        for text in {item.licence_text for item in wanted if item.licence_text}:
            _lay(text, options.out / _LICENCE_FILE)
    if failures:
        raise _summary(failures, len(wanted))
    return 0


def _summary(failures: list[ApplianceError], wanted: int) -> ApplianceError:
    if len(failures) == 1:
        return failures[0]
    lines = "\n".join(f"  {error.message}" for error in failures)
    return ApplianceError(f"{len(failures)} of {wanted} files are missing:\n{lines}", failures[0].hint)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance fetch",
        description="Obtain and verify what the manifest lists. A model brings its tokenizer along.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a model, tokenizer, asset, translator or recording")
    parser.add_argument("--all", action="store_true", help="every model and every asset")
    parser.add_argument(
        "--with-assets", action="store_true", help="also what every image needs beside a model (the VAD)"
    )
    parser.add_argument("--recordings", action="store_true", help="also every recording")
    parser.add_argument("--format", choices=("ct2", "pt"), help="take only model sources of this format")
    parser.add_argument(
        "--licence-policy", choices=POLICIES, default="any", help="what the licences must allow [%(default)s]"
    )
    parser.add_argument("--offline", action="store_true", help="never open a connection; use what is in the store")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="make the folder of a translator there, or lay assets into one of models",
    )
    parser.add_argument("--list", action="store_true", help="show what there is, and what is in the store")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _wanted(manifest: Manifest, options: argparse.Namespace) -> list[Item]:
    """The items asked for, each once, in a steady order; models are followed by their tokenizers."""
    translators = {name: found for found in manifest.translators.values() for name in (found.name, *found.aliases)}
    if options.out and not (
        (len(options.names) == 1 and options.names[0] in translators)
        or (options.names and manifest.assets.keys() >= set(options.names))
    ):
        known = ", ".join((*translators, *manifest.assets))
        raise UsageError("--out is for one translator, or for assets", f"name one: {known or 'there is none'}")
    wanted: list[Item] = []
    for name in options.names:
        wanted += translators[name].items if name in translators else [manifest.item(name)]
    if options.all:
        wanted += [*manifest.models.values(), *manifest.assets.values()]
    if options.with_assets:
        wanted += [asset for asset in manifest.assets.values() if asset.kind == "vad"]
    if options.recordings:
        wanted += manifest.recordings.values()
    return list({item.name: item for item in _with_tokenizers(manifest, wanted)}.values())


def _with_tokenizers(manifest: Manifest, items: Iterable[Item]) -> Iterable[Item]:
    for item in items:
        yield item
        if isinstance(item, WhisperModel):
            yield manifest.tokenizer(item.tokenizer)


def _lay(stored: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    partial = place.with_name(f"{place.name}.partial")
    shutil.copyfile(stored, partial)
    partial.replace(place)


def _fetched(item: Item, artifact: Artifact) -> str:
    origin = "already in the store" if artifact.reused else artifact.source
    return f"{item.name}  {artifact.size} bytes  sha256:{artifact.sha256}  {artifact.format}  {origin}"


def _listed(item: Item, store: Store) -> str:
    here = any(store.blob(source.sha256) for source in item.sources)
    names = " = ".join((item.name, *item.aliases))
    size_mb = item.sources[0].size / 1e6
    kinds = ", ".join(dict.fromkeys(source.kind for source in item.sources))
    return f"{names:<24} {size_mb:8.1f} MB  {'in store' if here else '-':<8}  {item.licence}  ({kinds})"
