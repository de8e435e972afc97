"""Where to stream to and how; and what an address, a certificate or a broken connection means to a user."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI, WebSocketException

from appliance.errors import ApplianceError
from appliance.recording.playback import Pace
from appliance.speech.types import SAMPLE_RATE_HZ

OPEN_TIMEOUT_S = 10.0

AudioForm = Literal["s16le", "auto"]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where to stream to, and how.

    ``target_language``: with translations into it; "" for none, whatever the server has set. ``diarization``: whether
    speakers are told apart; None: as the server does. ``certificate``: a PEM file to trust beside the system's.
    ``words``: with times and probabilities of each word. ``mode``: how updates come; what they add up to is the same.
    ``format``: of what is fed, raw 16-bit mono PCM at ``rate_hz``, or any container (``auto``). ``resume``: whether a
    stream whose connection drops is taken up again, where the server can. ``pace``: of `transcribe` alone.
    """

    url: str = "wss://127.0.0.1:8000/asr"
    language: str | None = None
    target_language: str | None = None
    token: str | None = None
    words: bool = False
    diarization: bool | None = None
    insecure: bool = False
    certificate: Path | None = None
    mode: Literal["diff", "full"] = "diff"
    format: AudioForm = "s16le"
    rate_hz: int = SAMPLE_RATE_HZ
    resume: bool = True
    pace: Pace = "fast"

    @property
    def address(self) -> str:
        """The address with its query. Servers that know no parameter leave them alone."""
        parts = urlsplit(self.url)
        query = {"mode": self.mode, "format": self.format, "rate": str(self.rate_hz)}
        if self.resume:
            query["resume"] = "true"
        if self.words:
            query["words"] = "true"
        if self.diarization is not None:
            query["diarization"] = str(self.diarization).lower()
        if self.language:
            query["language"] = self.language
        if self.target_language is not None:
            query["target_language"] = self.target_language
        joined = "&".join(filter(None, [parts.query, urlencode(query)]))
        return urlunsplit((parts.scheme, parts.netloc, parts.path or "/asr", joined, ""))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def ssl_context(self) -> ssl.SSLContext | None:
        """What a TLS connection trusts; None for one without. Reads files.

        Raises:
            ApplianceError: the certificate can't be used.
        """
        if urlsplit(self.url).scheme != "wss":
            return None
        context = ssl.create_default_context()
        if self.certificate:
            try:
                context.load_verify_locations(self.certificate)
            except OSError as error:
                raise ApplianceError(f"can't use {self.certificate}: {error}", "give a PEM certificate") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Whatever breaks a connection, as an `ApplianceError`."""
    where = url.split("?")[0]
    try:
        yield
    except ConnectionClosed as error:
        raise ApplianceError(
            f"the connection to {where} broke: {error}", "look at the server's log", code="closed"
        ) from error
    except InvalidURI as error:
        raise ApplianceError(f"not a WebSocket address: {url}", "for example wss://127.0.0.1:8000/asr") from error
    except ssl.SSLCertVerificationError as error:
        raise ApplianceError(
            f"the certificate of {where} is not trusted: {error.verify_message}",
            "give the device's CA with --cacert FILE (its page has it at /ca.pem), or --insecure",
        ) from error
    except ssl.SSLError as error:
        raise ApplianceError(f"no TLS with {where}: {error.reason}", "a server without TLS is at ws://...") from error
    except (InvalidMessage, EOFError) as error:
        raise ApplianceError(f"{where} does not answer as a WebSocket", "a server with TLS is at wss://...") from error
    except InvalidHandshake as error:
        raise ApplianceError(f"{where} refused the connection: {error}", "is this the right address?") from error
    except TimeoutError as error:
        raise ApplianceError(f"no answer from {where} within {OPEN_TIMEOUT_S:g} s", "is the server running?") from error
    except socket.gaierror as error:
        raise ApplianceError(f"unknown host in {where}", "check the name, or give an IP address") from error
    except (OSError, WebSocketException) as error:
        raise ApplianceError(f"no server at {where}: {error}", "start one with: wlk-appliance serve") from error


class ServerError(ApplianceError):
    """What a server refused a client with, or ended its stream. ``retry_after_s``: None where it named no time."""

    def __init__(self, message: str, hint: str, *, code: str, retry_after_s: float | None) -> None:
        super().__init__(message, hint, code=code)
        self.retry_after_s = retry_after_s


def server_error(message: dict[str, Any]) -> ServerError:
    """A server's error event, with its code."""
    hint = str(message.get("hint") or "")
    if "retry_after_s" in message:
        hint = f"{hint} (in {message['retry_after_s']} s)".strip()
    text = message.get("message") or message.get("error")
    again = message.get("retry_after_s")
    return ServerError(
        f"server: {text}",
        hint,
        code=str(message.get("code", "error")),
        retry_after_s=float(again) if isinstance(again, int | float) else None,
    )
