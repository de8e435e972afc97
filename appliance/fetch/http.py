"""A resuming HTTP download that trusts a server only as far as the pinned size."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from appliance import __version__
from appliance.fetch.errors import BrokenOffError, SourceError, StartAgainError, UnreachableError
from appliance.fetch.progress import Progress

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
ATTEMPTS = 4
"""Tries in a row that bring less than `_REAL_GAIN_BYTES` before a server is given up."""

UNPINNED_LIMIT_BYTES = 4 << 30
"""Most that is accepted of a file whose size no one has told."""

_REAL_GAIN_BYTES = 1 << 20
_PIECE_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class HttpClient:
    """How to reach servers: certificate bundle, client certificate, proxies and time-outs.

    ``verify`` is a path of a CA bundle, or True for the default one. ``unreachable`` remembers, by host name,
    the servers that could not be reached, so that a run over many files waits for each of them once.
    """

    session: requests.Session = field(default_factory=requests.Session)
    verify: str | bool = True
    client_cert: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    timeout_s: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    backoff_s: float = 1.0
    unreachable: dict[str, str] = field(default_factory=dict)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        """One request; a response of any status is returned.

        Raises:
            UnreachableError: no connection could be made, now or earlier in this run.
            BrokenOffError: the connection was lost, or no answer came.
        """
        host = urlsplit(url).hostname or ""
        if host in self.unreachable:
            raise UnreachableError(f"{self.unreachable[host]} (as before in this run)")
        try:
            return self.session.request(
                method,
                url,
                headers={"User-Agent": f"wlk-appliance/{__version__}", **(headers or {})},
                stream=stream,
                timeout=self.timeout_s,
                verify=self.verify,
                cert=self.client_cert,
                proxies=dict(self.proxies) or None,
            )
        except requests.exceptions.RequestException as error:
            reason = _failure(error, host)
            raise (UnreachableError(reason) if _is_unreachable(error) else BrokenOffError(reason)) from error

    def reach(self, url: str) -> None:
        """Make sure that a server answers at all, whatever it says.

        Raises:
            SourceError: it does not; an unreachable one is remembered.
        """
        try:
            self.request("HEAD", url).close()
        except UnreachableError as error:
            self.unreachable.setdefault(urlsplit(url).hostname or "", str(error))
            raise

    def download(
        self, url: str, partial: Path, *, size: int | None, label: str, claim: Callable[[int], None] = lambda _: None
    ) -> bool:
        """Bring ``partial`` to the whole file, going on where an earlier download stopped.

        The content is not checked here.

        Args:
            size: the pinned size in bytes, None if not known.
            claim: told how many bytes are about to be written, as soon as that is known; raises if there is no room.

        Returns:
            Whether bytes of an earlier download were kept.

        Raises:
            SourceError: the server can't be reached, refuses, or has another file.
            OSError: ``partial`` can't be written.
        """
        kept = have = _size_of(partial)
        failures = 0
        reached = False
        with Progress(label, size) as progress:
            while size is None or have != size:
                try:
                    self._transfer(url, partial, size, progress, claim)
                    return kept > 0
                except UnreachableError as error:
                    if not reached:
                        self.unreachable.setdefault(urlsplit(url).hostname or "", str(error))
                        raise
                    reason = str(error)
                except StartAgainError as error:
                    reason, reached, kept = str(error), True, 0
                    partial.unlink(missing_ok=True)
                except BrokenOffError as error:
                    reason, reached = str(error), True
                now = _size_of(partial)
                failures = 0 if now - have >= _REAL_GAIN_BYTES else failures + 1
                have = now
                if failures >= ATTEMPTS:
                    raise SourceError(f"{reason}; gave up after {ATTEMPTS} tries ({have} bytes are kept to go on from)")
                log.info("%s: %s; trying again from byte %d", label, reason, have)
                time.sleep(self.backoff_s * 2 ** max(0, failures - 1))
        return kept > 0

    def _transfer(
        self, url: str, partial: Path, size: int | None, progress: Progress, claim: Callable[[int], None]
    ) -> None:
        start = _size_of(partial)
        if size is not None and start > size:
            start = 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            etag = _read_etag(partial, url)
            if etag:
                headers["If-Range"] = etag
        with self.request("GET", url, headers, stream=True) as response:
            start = _accepted_start(response, start, size)
            announced = response.headers.get("Content-Length", "")
            if size is not None and announced.isdigit() and start + int(announced) != size:
                raise SourceError(f"the server has {start + int(announced)} bytes, the manifest says {size}")
            if announced.isdigit():
                claim(int(announced))
            _write_etag(partial, url, response.headers.get("ETag", ""))
            _receive(response, partial, start, size, progress)


def _receive(response: requests.Response, partial: Path, start: int, size: int | None, progress: Progress) -> None:
    limit = UNPINNED_LIMIT_BYTES if size is None else size
    done = start
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        pieces = response.raw.stream(_PIECE_BYTES, decode_content=False)
        while True:
            try:
                piece = next(pieces, b"")
            except (urllib3.exceptions.HTTPError, TimeoutError, ConnectionError) as error:
                raise BrokenOffError(f"the connection broke off after {done} bytes") from error
            if not piece:
                break
            done += len(piece)
            if done > limit:
                break
            file.write(piece)
            progress.at(done)
    if done > limit:
        partial.unlink()
        raise SourceError(f"the server sends more than the {limit} bytes expected; cut off")
    if size is not None and done < size:
        raise BrokenOffError(f"the server stopped after {done} of {size} bytes")


def _accepted_start(response: requests.Response, start: int, size: int | None) -> int:
    """The byte at which the body begins: ``start`` only on a 206 whose Content-Range says the same."""
    status = response.status_code
    if status == 206 and start:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total_fits = match is not None and (size is None or match[3] in ("*", str(size)))
        if match is not None and int(match[1]) == start and total_fits:
            return start
        raise StartAgainError("the server answered with another range than asked for")
    if status == 200:
        return 0
    if status == 416:
        raise StartAgainError("the server can't go on from there")
    if status in _RETRIED_STATUSES:
        raise BrokenOffError(f"the server answered {status} {response.reason}")
    raise SourceError(f"the server answered {status} {response.reason}")


def _failure(error: requests.exceptions.RequestException, host: str) -> str:
    """One line for a request that got no answer, without the address (it may hold credentials)."""
    where = host or "the server"
    cause = _cause(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy for {where} does not let through"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {where} is not trusted here"
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return f"the name {where} can't be resolved"
    if isinstance(error, requests.exceptions.Timeout):
        return f"{where} did not answer in time"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"{where} can't be reached"
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"the connection to {where} broke off"
    return f"the request to {where} failed ({type(error).__name__})"


def _cause(error: requests.exceptions.RequestException) -> object:
    first = error.args[0] if error.args else None
    return getattr(first, "reason", first)


def _is_unreachable(error: requests.exceptions.RequestException) -> bool:
    known = requests.exceptions
    if not isinstance(error, known.ConnectionError | known.Timeout):
        return True  # a bad address and the like: never better the second time
    certain = isinstance(error, known.ConnectTimeout | known.ProxyError | known.SSLError)
    return certain or isinstance(_cause(error), urllib3.exceptions.NewConnectionError)


def _size_of(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def etag_file(partial: Path) -> Path:
    """Where the entity tag of an unfinished file is kept."""
    return partial.with_name(partial.name + ".etag")


def _write_etag(partial: Path, url: str, etag: str) -> None:
    if etag and not etag.startswith("W/"):
        etag_file(partial).write_text(json.dumps({"url": url, "etag": etag}), encoding="utf-8")
    else:
        etag_file(partial).unlink(missing_ok=True)


def _read_etag(partial: Path, url: str) -> str:
    """The strong entity tag that this address gave for what is here, or nothing."""
    try:
        kept = json.loads(etag_file(partial).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    same = isinstance(kept, dict) and kept.get("url") == url
    return str(kept.get("etag", "")) if same else ""
