"""``wlk-appliance serve``: the server."""

import os

from appliance import log
from appliance.server.settings import load_settings


def main(argv: list[str]) -> int:
    settings = load_settings(argv)
    log.configure(settings.log_level)
    # Read by the libraries when they are loaded. The engine's workers are the parallelism: numpy's own threads would
    # only spin beside them; and MKL would keep buffers for each thread.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")
    from appliance.server.main import run_server  # after the settings: --help and mistakes answer at once

    run_server(settings)
    return 0
