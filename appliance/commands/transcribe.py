"""``wlk-appliance transcribe``: stream a file through a running server and print the text."""

import argparse
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.client import ClientOptions, Transcript, transcribe
from appliance.errors import ApplianceError
from appliance.server.places import own_certificate
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.file import decode_file
from appliance.speech.types import Samples

_STDIN_BYTES = 4096


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    options = ClientOptions(
        url=args.url,
        language=args.language,
        token=args.token,
        words=args.json,
        insecure=args.insecure,
        certificate=args.cacert or own_certificate(),
        pace=args.pace,
    )
    samples = _from_stdin() if args.file == "-" else _from_file(Path(args.file))
    show = Display()
    try:
        transcript = transcribe(samples, options, show.update)
    finally:
        show.close()
    if args.json:
        print(json.dumps({"text": transcript.committed, "lines": transcript.lines}, ensure_ascii=False))
    else:
        print(transcript.committed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance transcribe",
        description="Stream an audio file through a running server; the text grows on stderr, and ends on stdout.",
    )
    parser.add_argument("file", metavar="FILE|-", help="audio file of any common format, or - for stdin")
    parser.add_argument("--url", default=ClientOptions().url, help="the server's /asr address [%(default)s]")
    parser.add_argument("--language", help="language code, or auto (default: the server's)")
    parser.add_argument("--token", help="the server's token, if it wants one")
    parser.add_argument("--pace", choices=("fast", "realtime"), default="fast", help="how fast to send [%(default)s]")
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="certificate to trust (PEM)")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument("--json", action="store_true", help="print text, lines and words as JSON")
    return parser


def _from_file(path: Path) -> Iterator[Samples]:
    """The file's samples; the first piece is decoded at once, so that a bad file is told before any connection."""
    pieces = decode_file(path)
    first = list(itertools.islice(pieces, 1))
    return itertools.chain(first, pieces)


def _from_stdin() -> Iterator[Samples]:
    if sys.stdin.isatty():
        raise ApplianceError("stdin is a terminal", "pipe audio into it, or name a file")
    decoder = AudioDecoder()
    try:
        while data := os.read(sys.stdin.fileno(), _STDIN_BYTES):
            yield from decoder.feed(data)
        yield from decoder.finish()
    finally:
        decoder.close()


class Display:
    """The growing transcript on stderr: in place on a terminal, else a line each time committed text grows."""

    def __init__(self) -> None:
        self._in_place = sys.stderr.isatty()
        self._committed = ""

    def update(self, transcript: Transcript) -> None:
        committed = transcript.committed
        if self._in_place:
            room = max(20, shutil.get_terminal_size().columns - 2)
            tentative = transcript.tentative[-room // 2 :]
            tail = committed[-(room - len(tentative)) :]
            sys.stderr.write(f"\r\x1b[K{tail} \x1b[2m{tentative}\x1b[0m")
        elif len(committed) > len(self._committed):
            sys.stderr.write(f"{committed[len(self._committed) :].strip()}\n")
        sys.stderr.flush()
        self._committed = committed

    def close(self) -> None:
        if self._in_place:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
