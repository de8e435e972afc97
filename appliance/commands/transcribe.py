"""``wlk-appliance transcribe``: stream a recording through a server, or in this process, and write what was said."""

import argparse
import contextlib
import itertools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType

from appliance import client
from appliance.client import ClientOptions
from appliance.errors import ApplianceError, UsageError
from appliance.recording import local
from appliance.recording.display import Display
from appliance.recording.playback import Clip, duration_s, parse_time, show_time
from appliance.recording.result_file import check_writable, write_result
from appliance.recording.transcription import FORMATS, Transcription
from appliance.server.models import locate
from appliance.server.places import own_certificate
from appliance.server.settings import Settings, flag, load_settings, variable
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.file import decode_file
from appliance.speech.types import Samples, Snapshot

_STDIN_BYTES = 4096
_STDIN_WAIT_S = 0.2

_SERVER_FLAGS = ("url", "token", "cacert", "insecure")
_MODEL_SETTINGS = (
    "models_dir", "model", "encoder_dir", "decoder_dir", "vad_file", "device", "compute_type",
    "commit", "policy", "window", "languages", "task", "initial_prompt",
)  # fmt: skip

Watch = Callable[[Snapshot], None]
Way = Callable[[Watch, threading.Event], None]
"""Streams a recording from beginning to end, and calls back with each state of its transcript."""


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check_way(args)
    stop = threading.Event()
    clip = Clip(_from_stdin(stop) if args.file == "-" else decode_file(Path(args.file)), args.start_s, args.end_s)
    if args.out:
        check_writable(args.out)
    samples = _begun(clip)
    total_s = None if args.file == "-" else duration_s(Path(args.file))
    if args.end_s is not None:
        total_s = min(total_s or args.end_s, args.end_s)

    transcription = Transcription(args.start_s)
    display: Display | None = None

    def watch(snapshot: Snapshot) -> None:
        transcription.update(snapshot)
        if display:
            display.update(transcription)

    is_whole = False
    try:
        with _in_this_process(args, samples) if args.in_process else _through_server(args, samples) as way:
            display = None if args.quiet else Display(total_s, args.start_s)
            with _stopped_by_interrupt(stop):
                way(watch, stop)
        is_whole = not stop.is_set()
    finally:
        if display:
            display.close()
        # Also what an interrupted or broken stream came to is the user's.
        if is_whole or transcription.text:
            write_result(transcription.render(args.format), args.out)
    if stop.is_set():
        raise KeyboardInterrupt
    if args.end_s is not None and clip.position_s < args.end_s and not args.quiet:
        print(f"note: the audio ends at {show_time(clip.position_s)}, before --to", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance transcribe",
        description="Stream a recording through a running server, or in this process: the text grows on stderr, "
        "and the result goes to stdout.",
        epilog="Times are seconds (12.5), m:ss or h:mm:ss. Times in the result are those of the whole recording, "
        "also with --from. Ctrl-C ends the stream: what was committed is still written, and the status is 130.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE|-", help="audio file of any common format, or - for stdin")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the result [%(default)s]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result goes (default: stdout)")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--pace", choices=("fast", "realtime"), default="fast", help="how fast to send [%(default)s]")
    parser.add_argument("--from", dest="start_s", type=parse_time, default=0.0, metavar="TIME", help="begin here")
    parser.add_argument("--to", dest="end_s", type=parse_time, metavar="TIME", help="end here")
    parser.add_argument("--language", help="language code, or auto (default: the server's)")
    server = parser.add_argument_group("through a server")
    server.add_argument("--url", help=f"the server's /asr address [{ClientOptions().url}]")
    server.add_argument("--token", help="the server's token, if it wants one")
    server.add_argument("--cacert", type=Path, metavar="FILE", help="certificate to trust (PEM)")
    server.add_argument("--insecure", action="store_true", help="accept any certificate")
    models = parser.add_argument_group("without a server")
    models.add_argument("--in-process", action="store_true", help="load the models here; settings as for serve:")
    for name in _MODEL_SETTINGS:
        about = f"{Settings.model_fields[name].description} [{variable(name)}]"
        models.add_argument(flag(name), metavar=name.rpartition("_")[2].upper(), help=about)
    return parser


def _check_way(args: argparse.Namespace) -> None:
    """Refuse what is about the other way than the chosen one."""
    about = _SERVER_FLAGS if args.in_process else _MODEL_SETTINGS
    given = [flag(name) for name in about if getattr(args, name)]
    if given and args.in_process:
        raise UsageError(f"{given[0]} is about a server, and --in-process uses none", "leave one of them out")
    if given:
        raise UsageError(f"{given[0]} is about models in this process; a server has its own", "add --in-process")


@contextlib.contextmanager
def _through_server(args: argparse.Namespace, samples: Iterable[Samples]) -> Iterator[Way]:
    options = ClientOptions(
        url=args.url or ClientOptions().url,
        language=args.language,
        token=args.token,
        words=args.format != "text",
        insecure=args.insecure,
        certificate=args.cacert or own_certificate(),
        pace=args.pace,
    )

    def way(watch: Watch, stop: threading.Event) -> None:
        client.transcribe(samples, options, lambda transcript: watch(transcript.snapshot()), stop)

    yield way


@contextlib.contextmanager
def _in_this_process(args: argparse.Namespace, samples: Iterable[Samples]) -> Iterator[Way]:
    given = ((flag(name), getattr(args, name)) for name in _MODEL_SETTINGS)
    settings = load_settings([word for name, value in given if value is not None for word in (name, value)])
    pair, vad_file = locate(settings)
    if not args.quiet:
        print(f"loading {pair.name}", file=sys.stderr)
    from appliance.server.streams import load_engine, stream_options  # what a client never needs

    engine = load_engine(settings, pair, vad_file)
    options = stream_options(settings, language=args.language or settings.language, task=settings.task)

    def way(watch: Watch, stop: threading.Event) -> None:
        local.transcribe(samples, lambda take: engine.open_stream(options, take), watch, pace=args.pace, stop=stop)

    try:
        yield way
    finally:
        engine.close()


def _begun(samples: Iterable[Samples]) -> Iterator[Samples]:
    """The same; the first piece is decoded at once, so that bad audio is told before any connection."""
    pieces = iter(samples)
    first = list(itertools.islice(pieces, 1))
    return itertools.chain(first, pieces)


def _from_stdin(stop: threading.Event) -> Iterator[Samples]:
    if sys.stdin.isatty():
        raise ApplianceError("stdin is a terminal", "pipe audio into it, or name a file")
    decoder = AudioDecoder()
    handle = sys.stdin.fileno()
    try:
        while not stop.is_set():
            if not select.select([handle], [], [], _STDIN_WAIT_S)[0]:
                continue
            data = os.read(handle, _STDIN_BYTES)
            if not data:
                break
            yield from decoder.feed(data)
        yield from decoder.finish()
    finally:
        decoder.close()


@contextlib.contextmanager
def _stopped_by_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets ``stop``, for an orderly end; another one interrupts at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # a shell's background job, which a Ctrl-C is not meant for
        yield
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
