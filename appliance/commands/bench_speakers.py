"""``wlk-appliance bench-speakers``: diarize recordings whose speakers are known, and measure errors, delay and cost."""

import argparse
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from appliance import log
from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, load_manifest
from appliance.speakers.embedding import EmbeddingDiarizer
from appliance.speech.vad import VadModel
from appliance.store import Store
from appliance.talks.choice import RECORDED, joined_talks, recorded_talks
from appliance.talks.measure import TalkResult, measure, table


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    manifest = load_manifest(options.manifest)
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        vad = VadModel(fetcher.fetch(manifest.asset("silero-vad")).path)
        diarizer = EmbeddingDiarizer(fetcher.fetch(manifest.asset("campplus")).path, vad)
    results: list[TalkResult] = []
    talks = list(recorded_talks(options.recordings))
    talks += joined_talks(
        options.recordings, vad, options.join, options.conversations, 60 * options.minutes, options.seed
    )
    if not talks:
        raise ApplianceError(
            f"no recording in {options.recordings} has its speakers beside it",
            "put NAME.rttm beside NAME.wav, or join conversations of readers: --join 2,4",
        )
    for talk in talks:
        result = measure(talk, diarizer, vad)
        results.append(result)
        real, found = result.speakers
        print(f"{talk.kind}  {talk.id}: DER {100 * result.error.rate:.1f} %, {found} speakers of {real}", flush=True)
    print("\n" + table(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance bench-speakers",
        description="Diarize recordings whose speakers are known, and measure errors, delay and cost.",
        epilog="What each figure means stands in docs/benchmarks.md.",
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        required=True,
        metavar="DIR|INDEX",
        help=f"{RECORDED} talks, NAME.rttm beside NAME.wav",
    )
    parser.add_argument(
        "--join",
        type=_numbers,
        default=(),
        metavar="N,N",
        help="also conversations of so many speakers, joined of the index's recordings of one reader each",
    )
    parser.add_argument("--conversations", type=int, default=20, metavar="N", help="of each number [%(default)s]")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="M", help="length of each [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, other meetings [%(default)s]")
    parser.add_argument("--offline", action="store_true", help="never open a connection to fetch something")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if any(number < 2 for number in numbers):
        raise ValueError
    return numbers
