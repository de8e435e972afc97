"""The entry point: picks a command, prints errors, chooses the exit status.

Commands live in `appliance.commands`, one module each with ``main(argv) -> int``; only the chosen
one is imported, so that a health check does not pay for torch.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from appliance import __version__
from appliance.errors import ApplianceError, UsageError

COMMANDS: dict[str, str] = {
    "fetch": "fetch and verify models and recordings of models/manifest.yaml",
    "bake": "make the encoder/decoder pair of a model from what was fetched",
    "wheels": "download the locked wheels of a target",
    "sources": "fetch the source code that a target compiles",
    "image": "build or save a container image, list targets, show or compare archives",
    "audit": "look for known weaknesses in all locked packages",
    "bundle": "make and check what is carried to a site, and the keys that sign it",
    "rollback": "on an installed device, return to the release before",
    "push": "copy an image that was built here into a registry, and read it back",
    "demo": "run an image with networking off and stream a recording through it",
    "serve": "turn live speech into text over a WebSocket",
    "transcribe": "stream a recording through a server, or in this process: text, subtitles or JSON",
    "health": "ask a running server whether it is alive, or ready",
    "journal": "list, export or remove what the service has kept of its streams",
    "cert": "make, renew or show the server's certificate and its local CA",
    "doctor": "tell what is wrong here for a server, and what to do about it",
    "support-bundle": "pack findings, settings and logs to send away, without secrets or transcripts",
    "bench": "stream recordings at real-time pace and measure accuracy, latency and cost",
    "soak": "let many clients use a server for a long time, and measure what is lost and what grows",
    "bench-speakers": "diarize recordings whose speakers are known, and measure errors, delay and cost",
    "selftest": "load a pair, transcribe a known recording and compare",
    "accounts": "write a bill of what an image holds; its build runs this in it",
    "rewrite": "make an engine's archive reproducible; a kit runs this in the image",
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: wlk-appliance COMMAND [OPTIONS]\n\n"
        f"commands:\n{rows}\n\n"
        "wlk-appliance COMMAND --help shows a command's options; --version prints the version."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (0 done, 1 failed, 2 wrong usage, 130 interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except ApplianceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our stdout went away (for example `| head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        print(f"wlk-appliance {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        raise UsageError(
            f"unknown command: {name!r}",
            f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(COMMANDS)}",
        )
    try:
        module = importlib.import_module(f"appliance.commands.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise ApplianceError(
            f"{name} needs the Python package {error.name}, which is not installed here",
            "the build commands run where the appliance is built (make setup), the others in its image too",
        ) from error
    status: int = module.main(words[1:])
    return status
