"""``wlk-appliance bake``: fetch what is missing, make the pairs of models, and prove them."""

import argparse
from pathlib import Path

from appliance import log
from appliance.baking.bake import Baked, bake
from appliance.errors import UsageError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, Manifest, Recording, load_manifest
from appliance.pair.record import ProofRecord
from appliance.store import Store

DEFAULT_OUT = Path("build/pairs")


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    manifest = load_manifest(options.manifest)
    models = [manifest.model(name) for name in options.names]
    recording = manifest.recording(options.recording) if options.recording else _first_recording(manifest)
    formats = (options.format,) if options.format else None
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        speech = fetcher.fetch(recording)
        found = [
            (model, fetcher.fetch(model, formats), fetcher.fetch(manifest.tokenizer(model.tokenizer)))
            for model in models
        ]
    for model, weights, ranks in found:
        print(_shown(bake(model, weights, ranks.path, speech.path, options.out), options.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance bake",
        description="Make the encoder/decoder pair of a model: fetch one of its files, derive the missing half, prove "
        "on a recording that both halves compute the same.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="models of the manifest")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--format", choices=("ct2", "pt"), help="start from a file of this format only")
    parser.add_argument("--recording", metavar="NAME", help="the recording to prove with (default: the first one)")
    parser.add_argument("--offline", action="store_true", help="never open a connection; use what is in the store")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _first_recording(manifest: Manifest) -> Recording:
    for recording in manifest.recordings.values():
        if recording.language == "en":  # what English-only models understand, too
            return recording
    raise UsageError(
        "the manifest has no English recording to prove a pair with", "add one, or name one by --recording"
    )


def _shown(baked: Baked, out: Path) -> str:
    record = baked.record
    rows = [f"{'kept' if baked.reused else 'baked'} {out / record.name}"]
    rows += [f"  {file.size / 1e6:9.1f} MB  {file.path}" for file in record.files]
    rows.append(
        f"  from {record.source.kind} {record.source.describe} ({record.source.format}, {record.source.sha256})"
    )
    rows.append(f"  proof: {_proof(record.proof)}")
    return "\n".join(rows)


def _proof(proof: ProofRecord) -> str:
    encoder = "" if proof.encoder_error_below is None else f"encoder error below {proof.encoder_error_below:.0e}, "
    return (
        f"derived {proof.derived}; {encoder}logits error below {proof.logits_error_below:.0e} "
        f"(allowed: {proof.tolerance:.0e}), same choices at {proof.tokens} tokens of real speech"
    )
