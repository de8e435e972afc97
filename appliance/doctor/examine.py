"""All checks, one after the other."""

from appliance.doctor.device import check_device
from appliance.doctor.finding import Finding, failed
from appliance.doctor.machine import check_clock, check_disk, check_engine, check_memory
from appliance.doctor.models import check_models
from appliance.doctor.port import check_port
from appliance.doctor.state import check_certificate, check_journal, check_state
from appliance.errors import ApplianceError
from appliance.server.flags import unknown_variables
from appliance.server.settings import Settings


def examine(settings: Settings | ApplianceError, *, deep: bool = False) -> list[Finding]:
    """What `serve` with these settings would meet here; with settings that can't be used, what can be told without."""
    machine = [check_clock(), check_memory(), *check_engine()]
    if isinstance(settings, ApplianceError):
        return [failed("settings", settings), *machine]
    return [
        *_check_settings(),
        *check_models(settings, deep=deep),
        check_device(settings.device),
        check_state(settings.state_dir),
        *check_journal(settings.journal),
        *check_certificate(settings),
        check_port(settings),
        check_disk(settings.state_dir),
        *machine,
    ]


def _check_settings() -> list[Finding]:
    remarks = [Finding("settings", "warning", said, "wlk-appliance serve --help") for said in unknown_variables()]
    return remarks or [Finding("settings", "ok", "all are known and sound")]
