"""The port: free, served by a server of ours that is ready, or somebody else's."""

import os
import socket
from pathlib import Path

from appliance.doctor.finding import Finding
from appliance.server.asking import ask
from appliance.server.settings import Settings
from appliance.server.tls import files_in

_LIMIT_S = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}


def check_port(settings: Settings) -> Finding:
    host, port = _EVERYWHERE.get(settings.host, settings.host), settings.port
    if not port:
        return Finding("port", "ok", "any that is free")
    if not _listens(host, port):
        return Finding("port", "ok", f"{port} is free: no server is running here")
    address = f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    ready, said = ask(address, "/readyz", _LIMIT_S, _own(settings))
    if ready:
        return Finding("port", "ok", said)
    if said.startswith("no answer"):
        remedy = f"ss -ltnp 'sport = :{port}' shows who it is; stop that, or choose another WLK_PORT"
        return Finding("port", "error", f"{port} is taken, and not by a server of ours: {said}", remedy)
    severity = "warning" if said.startswith(("loading", "stopping")) else "error"
    return Finding("port", "warning" if severity == "warning" else "error", said, "the server's log says why")


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _LIMIT_S).close()
    except OSError:
        return False
    return True


def _own(settings: Settings) -> Path | None:
    path = settings.tls_cert or files_in(settings.state_dir).certificate
    return path if os.access(path, os.R_OK) else None
