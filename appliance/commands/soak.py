"""``wlk-appliance soak``: many clients for a long time, who drop, pause, stop and come back; and what that does."""

import argparse
import logging
import shlex
import signal
from pathlib import Path

from appliance import __version__, log
from appliance.bench.clips import Clip
from appliance.bench.machine import circumstances
from appliance.bench.processes import Memory
from appliance.bench.recordings import Recording, choose
from appliance.bench.reference import batch_clips
from appliance.bench.servers import DEFAULT_COMMIT, appliance, running
from appliance.errors import ApplianceError, UsageError
from appliance.fetch import Fetcher
from appliance.manifest import DEFAULT_MANIFEST, load_manifest
from appliance.pair.locate import find_pair
from appliance.soak.report import markdown, report_of, write
from appliance.soak.run import Soak, soak
from appliance.soak.sounds import FORMS, plays
from appliance.soak.tally import Tally
from appliance.store import Store

MOST_CLIENTS = 500
MOST_MINUTES = 7 * 24 * 60.0
MOST_SKIPPED = 100_000


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    log.configure()
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    _check(options)
    manifest = load_manifest(options.manifest)
    pair = find_pair(options.models_dir, manifest.model(options.model).name)
    with Fetcher(Store.configured(options.store), offline=options.offline) as fetcher:
        vad_file = fetcher.fetch(manifest.asset("silero-vad")).path
        pinned = {item.name: item for item in manifest.recordings.values() if item.transcript}
        listed = [Recording(item.name, Path(item.name), item.language, item.transcript) for item in pinned.values()]
        chosen = [
            Recording(one.id, fetcher.fetch(pinned[one.id]).path, one.language, one.transcript)
            for one in choose(listed, only=options.only, language="all")
        ]
    stem: Path = options.report
    _make_folder(stem.parent)
    rows = plays(list(batch_clips(chosen, pair.encoder_dir)), options.play_s)
    what = Soak(options.clients, options.minutes, options.seed, options.skip, options.forms)
    subject = appliance(
        __version__, pair.encoder_dir, pair.decoder_file.parent, vad_file, DEFAULT_COMMIT, options.serve
    )
    facts, settings = circumstances(), _settings(options, rows)

    def keep(tally: Tally, memory: Memory) -> None:
        write(report_of(tally, memory, what.minutes, facts, settings), stem)

    # As with Ctrl-C: the server is stopped, and the report written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running(subject, stem.with_name(stem.name + ".server.log")) as server:
        tally, memory = soak(what, server, rows, keep)
    report = report_of(tally, memory, what.minutes, facts, settings)
    print(markdown(report))
    print(f"saved in {stem}.md and {stem}.json; the server's log is {stem}.server.log")
    return 0 if report.held else 1


def _settings(options: argparse.Namespace, rows: list[Clip]) -> dict[str, object]:
    return {
        "model": options.model,
        "clients": options.clients,
        "seed": options.seed,
        "skip": options.skip,
        "serve": " ".join(options.serve),
        "plays": [f"{row.name}, {row.length_s:.1f} s" for row in rows],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance soak",
        description="Start a server and let many clients use it for a long time, as clients do. Status 1: a goal was "
        "missed.",
        epilog="What is measured, and the goals, stand in docs/benchmarks.md. The report is written each minute.",
    )
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="so many at once [%(default)s]")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="for so long [%(default)g]")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another one: other choices [%(default)s]")
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N choices of each client [%(default)s]"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("build/soak/soak"),
        metavar="FILE",
        help="written as FILE.md and FILE.json [%(default)s]",
    )
    parser.add_argument("--only", type=_names, default=(), metavar="ID,ID", help="only these of the recordings")
    parser.add_argument(
        "--play-s", type=float, default=15.0, metavar="S", help="recordings are joined to so many seconds [%(default)g]"
    )
    parser.add_argument(
        "--serve", type=shlex.split, default=(), metavar="FLAGS", help="more flags for serve, for example '--workers 1'"
    )
    parser.add_argument(
        "--forms",
        type=_names,
        default=FORMS,
        metavar="FORM,...",
        help=f"of the audio, some of {', '.join(FORMS)} [all]",
    )
    parser.add_argument("--model", default="base", metavar="NAME", help="[%(default)s]")
    parser.add_argument("--models-dir", type=Path, default=Path("build/pairs"), metavar="DIR", help="[%(default)s]")
    parser.add_argument("--offline", action="store_true", help="never open a connection to fetch something")
    parser.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: $WLK_STORE, else build/store")
    return parser


def _check(options: argparse.Namespace) -> None:
    if not 1 <= options.clients <= MOST_CLIENTS:
        raise UsageError(f"--clients is {options.clients}", f"a number from 1 to {MOST_CLIENTS}")
    if not 0 <= options.skip <= MOST_SKIPPED:
        raise UsageError(f"--skip is {options.skip}", f"a number from 0 to {MOST_SKIPPED}")
    if not 0 < options.minutes <= MOST_MINUTES:
        raise UsageError(f"--minutes is {options.minutes:g}", f"more than 0, and at most {MOST_MINUTES:g}")
    if not 1 <= options.play_s <= 600:
        raise UsageError(f"--play-s is {options.play_s:g}", "seconds from 1 to 600")
    if not options.forms or not set(options.forms) <= set(FORMS):
        raise UsageError(f"--forms is {','.join(options.forms)!r}", f"some of {', '.join(FORMS)}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApplianceError(f"can't make {folder}: {error.strerror}", "choose another with --report FILE") from error
