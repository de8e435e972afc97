"""``wlk-appliance bench``: stream recordings at real-time pace to a server and measure what comes back."""

import argparse
import logging
import shlex
from functools import partial
from pathlib import Path

from appliance import __version__, log
from appliance.bench.peer import PROGRAM, find_peer, peer
from appliance.bench.plan import Plan, SubjectMaker, languages_of, measure
from appliance.bench.plot import require_plotting, write_plot
from appliance.bench.recordings import Recording, choose, read_recordings
from appliance.bench.report import table, write_json
from appliance.bench.results import BenchResult
from appliance.bench.servers import DEFAULT_COMMIT, appliance
from appliance.errors import ApplianceError, UsageError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, load_manifest
from appliance.pair.locate import Pair, find_pair
from appliance.store import Store

COMMIT_MODES = ("fast", "balanced", "accurate")
MOST_CLIENTS = 200
LEAST_MINUTES = 20.0
"""Of the long run, for its first and last ten minutes must not be the same."""


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    for library in ("faster_whisper", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    modes = _modes(options.commit)
    clients = _clients(options.clients)
    if options.hour and options.hour < LEAST_MINUTES:
        raise UsageError(f"--hour {options.hour:g} is too short", f"give at least {LEAST_MINUTES:g} minutes")
    if options.plot:
        require_plotting()
    manifest = load_manifest(options.manifest)
    pair = find_pair(options.models_dir, manifest.model(options.model).name)
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        vad_file = fetcher.fetch(manifest.asset("silero-vad")).path
        if options.recordings:
            found = read_recordings(options.recordings, options.language)
            chosen = choose(found, only=options.only, language=options.language)
        else:
            pinned = {item.name: item for item in manifest.recordings.values()}
            listed = [Recording(item.name, Path(item.name), item.language, item.transcript) for item in pinned.values()]
            chosen = [
                Recording(one.id, fetcher.fetch(pinned[one.id]).path, one.language, one.transcript)
                for one in choose(listed, only=options.only, language=options.language)
            ]
    out: Path = options.out
    subjects = _subjects(options, pair, vad_file, modes, languages_of(chosen))
    plan = Plan(tuple(chosen), clients, options.noise, options.hour or 0.0)
    _make_folder(out)
    for result in measure(plan, pair, subjects, out):
        _save(result, out, plot=options.plot)
    print(table(result))
    print(f"\nsaved in {out}: bench.txt, bench.json{', bench.png' if options.plot else ''}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance bench",
        description="Start a server, stream recordings to it at real-time pace, and measure what comes back.",
        epilog="What each figure means stands in docs/benchmarks.md.",
    )
    parser.add_argument(
        "--recordings", type=Path, metavar="DIR|INDEX", help="own recordings (default: those of the manifest)"
    )
    parser.add_argument("--only", type=_names, default=(), metavar="ID,ID", help="only these of the recordings")
    parser.add_argument("--language", default="en", help="recordings of this language, or all [%(default)s]")
    parser.add_argument(
        "--commit", type=_names, default=(DEFAULT_COMMIT,), metavar="MODE,MODE", help=f"of {', '.join(COMMIT_MODES)}"
    )
    parser.add_argument("--clients", type=_names, default=(), metavar="N,N", help="also so many clients at once")
    parser.add_argument("--noise", action="store_true", help="also five minutes in which nothing is said")
    parser.add_argument(
        "--hour", type=float, nargs="?", const=60.0, metavar="MINUTES", help="also an hour of continuous speech"
    )
    parser.add_argument(
        "--peer", nargs="?", const=PROGRAM, metavar="WLK", help="also an installed WhisperLiveKit [wlk on PATH]"
    )
    parser.add_argument(
        "--serve", type=shlex.split, default=(), metavar="FLAGS", help="more flags for serve, for example '--workers 1'"
    )
    parser.add_argument("--model", default="base", metavar="NAME", help="[%(default)s]")
    parser.add_argument("--models-dir", type=Path, default=Path("build/pairs"), metavar="DIR", help="[%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), metavar="DIR", help="[%(default)s]")
    parser.add_argument(
        "--plot", action=argparse.BooleanOptionalAction, default=True, help="draw bench.png (needs matplotlib)"
    )
    parser.add_argument("--offline", action="store_true", help="never open a connection to fetch something")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _modes(given: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [mode for mode in given if mode not in COMMIT_MODES]:
        raise UsageError(f"--commit is {unknown[0]!r}", f"one or more of: {','.join(COMMIT_MODES)}")
    if not given:
        raise UsageError("--commit names no mode", f"one or more of: {','.join(COMMIT_MODES)}")
    return tuple(dict.fromkeys(given))


def _clients(given: tuple[str, ...]) -> tuple[int, ...]:
    for text in given:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_CLIENTS):
            raise UsageError(f"--clients is {text!r}", f"numbers from 1 to {MOST_CLIENTS}, for example 1,10,20")
    return tuple(int(text) for text in given)


def _subjects(
    options: argparse.Namespace, pair: Pair, vad_file: Path, modes: tuple[str, ...], language: str
) -> list[SubjectMaker]:
    """Our server in each mode, then the peer."""
    ours = [
        appliance(__version__, pair.encoder_dir, pair.decoder_file.parent, vad_file, mode, options.serve)
        for mode in modes
    ]
    makers: list[SubjectMaker] = [partial(lambda subject, clips: subject, subject) for subject in ours]
    if options.peer:
        installed = find_peer(options.peer)
        makers.append(lambda clips: peer(installed, pair, language, clips[0], options.out / "peer"))
    return makers


def _save(result: BenchResult, out: Path, *, plot: bool) -> None:
    write_json(result, out / "bench.json")
    (out / "bench.txt").write_text(table(result) + "\n", encoding="utf-8")
    if plot:
        write_plot(result, out / "bench.png")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApplianceError(f"can't make {folder}: {error.strerror}", "choose another with --out DIR") from error
