"""``wlk-appliance serve``: the server."""

import logging
import os
import signal
from types import FrameType

from appliance import log
from appliance.server.flags import load_settings

_SECRETS = ("--token", "--tokens")


def main(argv: list[str]) -> int:
    # Until the server has a handler of its own. As a container's first process this one is ended by no signal else.
    signal.signal(signal.SIGTERM, _end)
    settings = load_settings(argv)
    log.configure(settings.log_level, settings.log_format)
    for flag in sorted({word.partition("=")[0] for word in argv} & {*_SECRETS}):
        logging.getLogger(__name__).warning(
            "others on this machine see what %s says in the list of processes: give WLK_TOKEN, or --token-file", flag
        )
    # Read by MKL when torch loads it, which would keep buffers for each thread.
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")
    from appliance.server.main import run_server  # after the settings: --help and mistakes answer at once

    run_server(settings)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
