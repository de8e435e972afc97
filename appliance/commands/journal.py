"""``wlk-appliance journal``: what the service has kept of its streams; listed, exported, removed."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance.errors import ApplianceError, UsageError
from appliance.journal.folder import Entry, Folder, is_written
from appliance.journal.reader import Kept, read
from appliance.recording.batch import SUFFIXES, made_folder
from appliance.recording.playback import show_time
from appliance.recording.result_file import check_writable, write_result
from appliance.recording.transcription import FORMATS, render
from appliance.server.flags import load_settings
from appliance.server.settings import describe

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the journal, and what is in it."""

    entry: Entry
    kept: Kept
    is_written: bool

    @property
    def state(self) -> str:
        if self.is_written:
            return "being written"
        if self.kept.damaged:
            return "damaged"
        return self.kept.end or "broken off"


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    with contextlib.closing(Folder.existing(_path(args.journal))) as folder:
        if args.what == "list":
            return _list(folder, as_json=args.json)
        if args.what == "export":
            return _export(folder, args)
        return _purge(folder, args)


def _path(given: Path | None) -> Path:
    settings = load_settings(["--journal", str(given)] if given else [])
    if settings.journal is None:
        raise UsageError("which journal?", f"name the service's folder with {describe('journal')}")
    return settings.journal


def _list(folder: Folder, *, as_json: bool) -> int:
    found = [_looked_at(folder, entry) for entry in folder.files()]
    if as_json:
        print(json.dumps([_row(one) for one in found], ensure_ascii=False, indent=2))
        return 0
    width = max((len(one.entry.name) for one in found), default=0)
    for one in found:
        kept = one.kept
        token = f"  {kept.about['token']}" if kept.about.get("token") else ""
        print(
            f"{one.entry.name:<{width}}  {_began(kept)}  {show_time(round(kept.heard_s)):>8}  {kept.words:>7} words  "
            f"{one.state}{token}"
        )
    if not found:
        print(f"nothing in {folder.path}", file=sys.stderr)
    return 0


def _export(folder: Folder, args: argparse.Namespace) -> int:
    if bool(args.names) == args.all:
        raise UsageError("which of the journal?", "give names, as wlk-appliance journal list shows them, or --all")
    entries = _named(folder, args.names) if args.names else folder.files()
    if len(args.names) == 1:
        if args.out:
            check_writable(args.out)
        write_result(_rendered(_looked_at(folder, entries[0]), args.format), args.out)
        return 0
    if args.out is None:
        raise UsageError("several need a folder for their texts", "add --out FOLDER, or export one alone")
    target = made_folder(args.out)
    outs = [target / f"{entry.name}{SUFFIXES[args.format]}" for entry in entries]
    for entry, out in zip(entries, outs, strict=True):
        check_writable(out)
        write_result(_rendered(_looked_at(folder, entry), args.format), out)
        print(out)
    return 0


def _purge(folder: Folder, args: argparse.Namespace) -> int:
    if sum((bool(args.names), args.older_than is not None, args.all)) != 1:
        raise UsageError("what of the journal is to go?", "give names, or --older-than DAYS, or --all")
    entries = _named(folder, args.names) if args.names else folder.files()
    if args.older_than is not None:
        entries = [entry for entry in entries if entry.written_at < time.time() - args.older_than * _DAY_S]
    if not entries:
        print("nothing to remove", file=sys.stderr)
        return 0
    if not args.yes:
        _confirm(entries)
    kept = []
    try:
        for entry in entries:
            if folder.remove(entry.name):
                print(f"removed {entry.name}")
            else:
                kept.append(entry.name)
        folder.sync()
    except OSError as error:
        raise ApplianceError(
            f"can't remove from {folder.path}: {error.strerror}", "run this as the service's user, or as root"
        ) from error
    if kept:
        raise ApplianceError(
            f"not removed, for a stream writes it now: {', '.join(kept)}", "again when that stream has ended"
        )
    return 0


def _confirm(entries: Sequence[Entry]) -> None:
    for entry in entries:
        print(entry.name, file=sys.stderr)
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked whether these are to go", "add --yes")
    print(f"Remove these {len(entries)} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ApplianceError("nothing was removed", "answer y, or add --yes")


def _named(folder: Folder, names: Sequence[str]) -> list[Entry]:
    there = {entry.name: entry for entry in folder.files()}
    for name in names:
        if name not in there:
            raise ApplianceError(f"{folder.path} has no {name!r}", "wlk-appliance journal list shows the names")
    return [there[name] for name in dict.fromkeys(names)]


def _looked_at(folder: Folder, entry: Entry) -> _Found:
    try:
        with folder.open(entry.name) as file:
            return _Found(entry, read(file), is_written(file))
    except OSError as error:
        raise ApplianceError(
            f"can't read {entry.name} in {folder.path}: {error.strerror}", "is the disk whole?"
        ) from error


def _rendered(found: _Found, form: str) -> str:
    if found.kept.damaged:
        print(f"note: {found.entry.name}: {found.kept.damaged} records are damaged and left out", file=sys.stderr)
    return render(found.kept.spoken, found.kept.heard_s, form)  # type: ignore[arg-type]


def _began(kept: Kept) -> str:
    try:
        return datetime.fromisoformat(str(kept.about.get("began"))).strftime("%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return "when is not known"


def _row(found: _Found) -> dict[str, object]:
    kept = found.kept
    told = {name: value for name, value in kept.about.items() if name not in ("n", "at", "journal")}
    return {
        "name": found.entry.name,
        "state": found.state,
        **told,
        "heard": round(kept.heard_s, 2),
        "words": kept.words,
        "damaged": kept.damaged,
        "bytes": found.entry.bytes,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance journal",
        description="What the service has kept of its streams (serve --journal). Run it as the service's user; on an\n"
        "installed box: docker exec wlk-service python3 -m appliance journal list",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="list|export|purge")
    listed = commands.add_parser("list", help="one line for each stream, the oldest first", allow_abbrev=False)
    listed.add_argument("--json", action="store_true", help="all that is known of each")
    export = commands.add_parser("export", help="what was said, in the forms of transcribe", allow_abbrev=False)
    export.add_argument("names", nargs="*", metavar="NAME", help="streams by their names in the list")
    export.add_argument("--all", action="store_true", help="all of them")
    export.add_argument("--format", choices=FORMATS, default="text", help="of the result [%(default)s]")
    export.add_argument("--out", type=Path, metavar="PATH", help="file for one; folder for several (default: stdout)")
    purge = commands.add_parser("purge", help="remove what was said, for good", allow_abbrev=False)
    purge.add_argument("names", nargs="*", metavar="NAME", help="streams by their names in the list")
    purge.add_argument("--older-than", type=float, metavar="DAYS", help="those that were written longer ago")
    purge.add_argument("--all", action="store_true", help="all of them, but for those that are being written")
    purge.add_argument("--yes", action="store_true", help="without asking")
    for command in (listed, export, purge):
        command.add_argument("--journal", type=Path, metavar="DIR", help="the service's folder [WLK_JOURNAL]")
    parser.epilog = "".join(command.format_usage() for command in (listed, export, purge))
    return parser
