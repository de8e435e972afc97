"""``wlk-appliance transcribe``: recordings, or live sound, through a server or in this process; and what was said."""

import argparse
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.client import ClientOptions
from appliance.errors import ApplianceError, UsageError
from appliance.recording.batch import expanded, made_folder, targets
from appliance.recording.display import Display
from appliance.recording.interrupt import stopped_by_interrupt
from appliance.recording.joining import channel_counts, joined, mix, one_channel, same_count, save_wav
from appliance.recording.live import from_microphone, from_stdin
from appliance.recording.playback import Clip, duration_s, parse_time, show_time
from appliance.recording.result_file import check_writable, write_result
from appliance.recording.transcription import FORMATS, Transcription, render
from appliance.recording.turns import by_time
from appliance.recording.ways import InProcess, ThroughServer, Way
from appliance.server.flags import load_settings
from appliance.server.places import own_certificate
from appliance.server.settings import Settings, flag, variable
from appliance.speech.audio.resample import Channels
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

_SERVER_FLAGS = ("url", "token", "cacert", "insecure")
_MODEL_SETTINGS = (
    "models_dir", "model", "encoder_dir", "decoder_dir", "vad_file", "device", "compute_type",
    "commit", "policy", "window", "languages", "task", "initial_prompt", "translation_dir",
    "diarization_backend", "diarization_file", "max_speakers", "enroll",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One recording: a stream for each speaker that is known beforehand, and its length where that is known."""

    streams: Sequence[Iterable[Samples]]
    length_s: float | None = None


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check(args)
    if args.token and not args.quiet:
        print("note: others on this machine see --token in the list of processes: give WLK_TOKEN", file=sys.stderr)
    is_live = args.microphone is not None or args.files == ["-"]
    files = [] if is_live else [Path(name) for name in args.files]
    several = any(path.is_dir() for path in files) or len(files) > 1
    recordings = expanded(files)
    if args.save:
        return _save(recordings, args)
    if several and not args.join:
        return _each(recordings, args)
    if args.out:
        check_writable(args.out)
    stop = threading.Event()
    source = _live(args, stop) if is_live else _recorded(recordings, args.channels)
    with contextlib.closing(_way(args)) as way:
        _transcribe(source, args, way, args.out, stop)
    return 0


def _transcribe(
    source: Source, args: argparse.Namespace, way: Way, out: Path | None, stop: threading.Event, *, part: bool = True
) -> float:
    """Stream a recording, and write its result; also what an interrupted or broken stream came to, as a ``part``.

    Returns:
        How many seconds were heard.
    """
    heard: list[Transcription] = []
    is_whole = False
    try:
        for number, samples in enumerate(source.streams, 1):
            clip = Clip(samples, args.start_s, args.end_s)
            begun = _begun(clip)
            way.open()
            if len(source.streams) > 1 and not args.quiet:
                print(f"channel {number} of {len(source.streams)}", file=sys.stderr)
            heard.append(Transcription(args.start_s))
            _stream(begun, heard[-1], args, way, source.length_s, stop)
        is_whole = not stop.is_set()
    finally:
        if is_whole or (part and any(transcription.text for transcription in heard)):
            lines = heard[0].lines if len(heard) == 1 else by_time([one.lines for one in heard])
            duration = max((one.received_s for one in heard), default=0.0)
            write_result(render(lines, duration, args.format), out)
    if stop.is_set():
        raise KeyboardInterrupt
    if args.end_s is not None and clip.position_s < args.end_s and not args.quiet:
        print(f"note: the audio ends at {show_time(clip.position_s)}, before --to", file=sys.stderr)
    return duration


def _stream(
    samples: Iterable[Samples],
    transcription: Transcription,
    args: argparse.Namespace,
    way: Way,
    length_s: float | None,
    stop: threading.Event,
) -> None:
    total_s = length_s if args.end_s is None else min(length_s or args.end_s, args.end_s)
    display = None if args.quiet else Display(total_s, args.start_s)

    def watch(snapshot: Snapshot) -> None:
        transcription.update(snapshot)
        if display:
            display.update(transcription)

    try:
        with stopped_by_interrupt(stop):
            way.run(samples, watch, stop)
    finally:
        if display:
            display.close()


def _each(recordings: Sequence[Path], args: argparse.Namespace) -> int:
    """Recordings one by one, each with its own result; one that is bad does not keep the others from theirs."""
    stop, started = threading.Event(), time.monotonic()
    outs = targets(recordings, args.format, made_folder(args.out) if args.out else None)
    failed: list[str] = []
    written, heard_s = 0, 0.0
    with contextlib.closing(_way(args)) as way:
        for number, (path, out) in enumerate(zip(recordings, outs, strict=True), 1):
            if not args.quiet:
                print(f"{path} ({number} of {len(recordings)})", file=sys.stderr)
            if out.exists():
                print(f"note: {out} is there already, so {path} was left out", file=sys.stderr)
                continue
            try:
                check_writable(out)
                heard_s += _transcribe(_recorded([path], args.channels), args, way, out, stop, part=False)
                written += 1
            except ApplianceError as error:
                print(f"{path}: {error}", file=sys.stderr)
                failed.append(str(path))
    if not args.quiet:
        took = show_time(round(time.monotonic() - started))
        print(
            f"{written} of {len(recordings)} transcribed: {show_time(round(heard_s))} of audio in {took}",
            file=sys.stderr,
        )
    if failed:
        raise ApplianceError(f"not transcribed: {', '.join(failed)}", "what is wrong with each is told above")
    return 0


def _save(recordings: Sequence[Path], args: argparse.Namespace) -> int:
    """The recordings as one file, instead of their text."""
    check_writable(args.save, "--save")
    if any(args.save.resolve() == path.resolve() for path in recordings):
        raise UsageError(f"--save {args.save} is one of the recordings", "name another file")
    counts = channel_counts(recordings)
    pieces: Iterable[Channels] = joined(recordings)
    if args.channels == "split":
        same_count(recordings, counts)
    else:
        pieces = (samples[None, :] for samples in mix(pieces))
    length_s = save_wav(pieces, args.save)
    if not args.quiet:
        print(f"{args.save}: {show_time(length_s)}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance transcribe",
        description="Stream recordings, stdin or a microphone through a running server, or in this process: "
        "the text grows on stderr, and the result goes to stdout, or for several recordings beside each.",
        epilog="Times are seconds (12.5), m:ss or h:mm:ss. Times in the result are those of the whole recording, "
        "also with --from. Ctrl-C ends the stream: what was committed is still written (not of several), status 130.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE|FOLDER|-", help="recordings of any common format, or - for stdin"
    )
    parser.add_argument(
        "--microphone", nargs="?", const="", metavar="DEVICE", help="listen, by arecord or parec, until Ctrl-C"
    )
    parser.add_argument("--raw", choices=("s16le", "f32le"), help="stdin is raw mono PCM, and no container")
    parser.add_argument("--rate", type=int, metavar="HZ", help=f"of raw PCM [{SAMPLE_RATE_HZ}]")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the result [%(default)s]")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="file for the result; folder for those of several recordings"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--pace", choices=("fast", "realtime"), default="fast", help="how fast to send [%(default)s]")
    parser.add_argument("--from", dest="start_s", type=parse_time, default=0.0, metavar="TIME", help="begin here")
    parser.add_argument("--to", dest="end_s", type=parse_time, metavar="TIME", help="end here")
    parser.add_argument("--language", help="language code, or auto (default: the server's)")
    parser.add_argument(
        "--target-language", metavar="LANGUAGE", help="translate into it, too (default: the server's; empty: don't)"
    )
    parser.add_argument(
        "--channels", choices=("mix", "split"), default="mix", help="split: each is a speaker [%(default)s]"
    )
    parser.add_argument(
        "--diarization",
        action=argparse.BooleanOptionalAction,
        help="tell speakers apart, or don't (default: as the server does)",
    )
    parser.add_argument("--join", action="store_true", help="several recordings are one, in this order")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write them as one WAV file of 16 kHz, and no text")
    server = parser.add_argument_group("through a server")
    server.add_argument("--url", help=f"the server's /asr address [{ClientOptions().url}]")
    server.add_argument("--token", help="the server's token, if it wants one [WLK_TOKEN]")
    server.add_argument("--cacert", type=Path, metavar="FILE", help="certificate to trust (PEM)")
    server.add_argument("--insecure", action="store_true", help="accept any certificate")
    models = parser.add_argument_group("without a server")
    models.add_argument("--in-process", action="store_true", help="load the models here; settings as for serve:")
    for name in _MODEL_SETTINGS:
        about = f"{Settings.model_fields[name].description} [{variable(name)}]"
        models.add_argument(flag(name), metavar=name.rpartition("_")[2].upper(), help=about)
    return parser


def _check(args: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    is_live = args.microphone is not None or "-" in args.files
    if args.microphone is None and not args.files:
        raise UsageError("nothing to transcribe", "name a recording or a folder, - for stdin, or --microphone")
    if is_live and len(args.files) + (args.microphone is not None) > 1:
        raise UsageError("stdin or a microphone can't be heard beside other recordings", "give one of them alone")
    for name, given in (("--channels split", args.channels == "split"), ("--join", args.join), ("--save", args.save)):
        if is_live and given:
            raise UsageError(f"{name} needs recordings in files", "save what is piped in first, or leave it out")
    if args.diarization and args.channels == "split":
        raise UsageError("--channels split says who speaks, and so does --diarization", "give one of them")
    if (args.raw or args.rate) and args.files != ["-"]:
        raise UsageError("--raw and --rate are about stdin", "leave them out: a recording says what it is")
    if args.rate and not args.raw:
        raise UsageError("--rate is about raw PCM", "add --raw s16le, or leave it out: a container says its rate")
    if args.save and (args.out or args.start_s or args.end_s is not None):
        raise UsageError("--save writes the recordings whole, and no text", "leave out --out, --from and --to")
    about = _SERVER_FLAGS if args.in_process else _MODEL_SETTINGS
    unfit = [flag(name) for name in about if getattr(args, name)]
    if unfit and args.in_process:
        raise UsageError(f"{unfit[0]} is about a server, and --in-process uses none", "leave one of them out")
    if unfit:
        raise UsageError(f"{unfit[0]} is about models in this process; a server has its own", "add --in-process")


def _way(args: argparse.Namespace) -> Way:
    def tell(text: str) -> None:
        if not args.quiet:
            print(text, file=sys.stderr)

    if not args.in_process:
        return ThroughServer(
            ClientOptions(
                url=args.url or ClientOptions().url,
                language=args.language,
                target_language=args.target_language,
                token=args.token or os.environ.get(variable("token")) or None,
                words=args.format != "text" or args.channels == "split",
                diarization=False if args.channels == "split" else args.diarization,
                insecure=args.insecure,
                certificate=args.cacert or own_certificate(),
                pace=args.pace,
            ),
            tell,
        )
    given = ((flag(name), getattr(args, name)) for name in _MODEL_SETTINGS)
    words = [word for name, value in given if value is not None for word in (name, value)]
    if args.channels == "split" or args.diarization is not None:
        words.append("--diarization" if args.diarization else "--no-diarization")
    settings = load_settings(words)
    if args.target_language and not settings.translation_dir:
        raise UsageError("--target-language needs a model that translates", "add --translation-dir")
    return InProcess(settings, args.language, args.target_language, args.pace, tell)


def _live(args: argparse.Namespace, stop: threading.Event) -> Source:
    if args.microphone is not None:
        return Source([from_microphone(stop, args.microphone)])
    return Source([from_stdin(stop, args.raw or "auto", args.rate or SAMPLE_RATE_HZ)])


def _recorded(paths: Sequence[Path], channels: str) -> Source:
    """Files as one recording; each is decoded once for each of its speakers, so that none is ever held in memory."""
    counts = channel_counts(paths)
    lengths = [duration_s(path) for path in paths]
    length_s = None if None in lengths else sum(filter(None, lengths))
    if channels == "mix":
        return Source([mix(joined(paths))], length_s)
    count = same_count(paths, counts)
    return Source([one_channel(joined(paths), number) for number in range(count)], length_s)


def _begun(samples: Iterable[Samples]) -> Iterator[Samples]:
    """The same; the first piece is decoded at once, so that bad audio is told before any connection."""
    pieces = iter(samples)
    first = list(itertools.islice(pieces, 1))
    return itertools.chain(first, pieces)
