"""``wlk-appliance serve``: the server."""

from appliance import log
from appliance.server.settings import load_settings


def main(argv: list[str]) -> int:
    settings = load_settings(argv)
    log.configure(settings.log_level)
    from appliance.server.main import run_server  # after the settings: --help and mistakes answer at once

    run_server(settings)
    return 0
