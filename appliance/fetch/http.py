"""A resuming HTTP download that trusts a server only as far as the pinned size."""

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from appliance import __version__
from appliance.fetch.errors import SourceError
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


class _BrokenOffError(Exception):
    """The transfer stopped half-way, in a manner that another try may mend."""


class _StartAgainError(_BrokenOffError):
    """What is here can't be gone on from."""


@dataclass(frozen=True, slots=True)
class HttpClient:
    """How to reach servers: certificate bundle, client certificate, proxies and time-outs.

    ``verify`` is a path of a CA bundle, or True for the default one.
    """

    session: requests.Session = field(default_factory=requests.Session)
    verify: str | bool = True
    client_cert: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    timeout_s: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    backoff_s: float = 1.0

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        """One request; a response of any status is returned."""
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

    def download(self, url: str, partial: Path, *, size: int | None, label: str) -> bool:
        """Bring ``partial`` to the whole file, going on where an earlier download stopped.

        ``size`` is the pinned size in bytes, None if not known. The content is not checked here.
        Returns whether bytes of an earlier download were kept.

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
                    self._transfer(url, partial, size, progress)
                    return kept > 0
                except requests.exceptions.RequestException as error:
                    reason = connection_failure(error)
                    if not reached and _is_unreachable(error):
                        raise SourceError(reason) from error  # don't make the user wait for more of the same
                except _StartAgainError as error:
                    reason, reached, kept = str(error), True, 0
                    partial.unlink(missing_ok=True)
                except _BrokenOffError as error:
                    reason, reached = str(error), True
                now = _size_of(partial)
                failures = 0 if now - have >= _REAL_GAIN_BYTES else failures + 1
                have = now
                if failures >= ATTEMPTS:
                    raise SourceError(f"{reason}; gave up after {ATTEMPTS} tries ({have} bytes are kept to go on from)")
                log.info("%s: %s; trying again from byte %d", label, reason, have)
                time.sleep(self.backoff_s * 2 ** max(0, failures - 1))
        return kept > 0

    def _transfer(self, url: str, partial: Path, size: int | None, progress: Progress) -> None:
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
                raise _BrokenOffError(f"the connection broke off after {done} bytes") from error
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
        raise _BrokenOffError(f"the server stopped after {done} of {size} bytes")


def _accepted_start(response: requests.Response, start: int, size: int | None) -> int:
    """The byte at which the body begins: ``start`` only on a 206 whose Content-Range says the same."""
    status = response.status_code
    if status == 206 and start:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total_fits = match is not None and (size is None or match[3] in ("*", str(size)))
        if match is not None and int(match[1]) == start and total_fits:
            return start
        raise _StartAgainError("the server answered with another range than asked for")
    if status == 200:
        return 0
    if status == 416:
        raise _StartAgainError("the server can't go on from there")
    if status in _RETRIED_STATUSES:
        raise _BrokenOffError(f"the server answered {status} {response.reason}")
    raise SourceError(f"the server answered {status} {response.reason}")


def connection_failure(error: requests.exceptions.RequestException) -> str:
    """One line for a request that got no answer, without the address (it may hold credentials)."""
    host = urlsplit(error.request.url or "").hostname if error.request is not None else None
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
