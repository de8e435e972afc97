"""The examples for proxies, run for a test with its own instances, ports, certificate and folder."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.server.tls import keep
from tests.conftest import ROOT, missing
from tests.server.running import Running

NGINX = ROOT / "deploy" / "nginx" / "wlk.conf"
HAPROXY = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
KINDS = ("nginx", "haproxy")

# What a distribution's nginx.conf has around the example.
_NGINX_MAIN = """
{user}
daemon off;
worker_processes 4;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/wlk.conf;
}}
"""


@dataclass
class Proxy(Running):
    """A proxy under test, as if it were the server."""

    kind: str = ""
    http_port: int = 0

    def log(self) -> str:
        files = [self.state_dir / name for name in ("access.log", "error.log")]
        return "".join(self.lines) + "".join(file.read_text() for file in files if file.exists())


@dataclass(frozen=True)
class Site:
    """An example with its placeholders filled in, and the programs' own view of it."""

    kind: str
    folder: Path
    https_port: int
    http_port: int

    @property
    def command(self) -> list[str]:
        if self.kind == "nginx":
            return [_program("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        return [_program("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]

    def check(self) -> tuple[int, str]:
        """The program's status and what it says of its configuration."""
        word = "-t" if self.kind == "nginx" else "-c"
        done = subprocess.run([*self.command, word], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def site(kind: str, ports: Sequence[int], folder: Path) -> Site:
    """Make the files of a proxy before instances on these ports of this machine."""
    files = keep(folder).files
    shutil.copy(files.certificate, folder / "tls" / "wlk.pem")
    shutil.copy(files.key, folder / "tls" / "wlk.pem.key")
    https_port, http_port = _free_ports(2)
    own = {f"wlk-{number}:8000": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    if kind == "nginx":
        own |= {
            "listen 80;": f"listen 127.0.0.1:{http_port};",
            # reuseport: connections come to all workers alike, as under load. They must count them together.
            "listen 443 ": f"listen 127.0.0.1:{https_port} reuseport ",
            "/etc/nginx/tls/": f"{folder}/tls/",
            "/var/log/nginx/": f"{folder}/",
        }
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_NGINX_MAIN.format(folder=folder, user=user), encoding="utf-8")
    else:
        own |= {
            "bind :80\n": f"bind 127.0.0.1:{http_port}\n",
            "bind :443 ": f"bind 127.0.0.1:{https_port} ",
            "/usr/local/etc/haproxy/tls/": f"{folder}/tls/",
        }
    example = NGINX if kind == "nginx" else HAPROXY
    text = example.read_text(encoding="utf-8")
    for placeholder, value in own.items():
        assert placeholder in text, placeholder
        text = text.replace(placeholder, value)
    (folder / example.name).write_text(text, encoding="utf-8")
    return Site(kind, folder, https_port, http_port)


@contextlib.contextmanager
def proxying(kind: str, instances: Sequence[Running], folder: Path) -> Iterator[Proxy]:
    """A running proxy before these instances."""
    made = site(kind, [instance.port for instance in instances], folder)
    process = subprocess.Popen(made.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"https://127.0.0.1:{made.https_port}/"
    proxy = Proxy(process, folder, url=url, kind=kind, http_port=made.http_port)
    assert process.stdout is not None
    reader = threading.Thread(target=proxy.lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        _wait_for_port(made.https_port, proxy)
        yield proxy
    finally:
        proxy.stop()
        reader.join(5)
        process.stdout.close()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        missing(f"{name} is not installed (apt-get install {name})")
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [item.getsockname()[1] for item in taken]


def _wait_for_port(port: int, proxy: Proxy) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and proxy.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{proxy.kind} does not listen:\n{proxy.log()}")
