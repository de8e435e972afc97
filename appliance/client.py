"""A client of the `/asr` protocol: streams PCM, follows the transcript by differences."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI, WebSocketException

from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

FRAME_S = 0.1
FRAME_SAMPLES = SAMPLE_RATE_HZ // 10
OPEN_TIMEOUT_S = 10.0

Pace = Literal["realtime", "fast"]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where to stream to, and how. ``certificate``: a PEM file to trust beside the system's."""

    url: str = "wss://127.0.0.1:8000/asr"
    language: str | None = None
    token: str | None = None
    words: bool = False
    insecure: bool = False
    certificate: Path | None = None
    pace: Pace = "fast"


@dataclass
class Transcript:
    """What the server has said so far, kept by `apply`."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    tentative: str = ""
    lag_s: float = 0.0
    pruned_text: str = ""

    @property
    def committed(self) -> str:
        return " ".join(filter(None, [self.pruned_text, *(line.get("text") or "" for line in self.lines)]))

    def apply(self, message: dict[str, Any]) -> None:
        """Take over an update of either mode; other messages are ignored."""
        if "lines" in message:
            self.lines = list(message["lines"])
        elif message.get("type") == "diff":
            new = message.get("new_lines", [])
            pruned, self.lines = (
                self.lines[: message.get("lines_pruned", 0)],
                self.lines[message.get("lines_pruned", 0) :],
            )
            self.pruned_text = " ".join(filter(None, [self.pruned_text, *(line.get("text") or "" for line in pruned)]))
            del self.lines[message["n_lines"] - len(new) :]
            self.lines += new
        else:
            return
        self.tentative = message.get("buffer_transcription", "")
        self.lag_s = message.get("remaining_time_transcription", 0.0)


def transcribe(
    samples: Iterable[Samples], options: ClientOptions, on_update: Callable[[Transcript], None] | None = None
) -> Transcript:
    """Stream audio to a server and follow the answer to its end.

    Raises:
        ApplianceError: no server, an untrusted certificate, a refusal or an error of the server.
    """
    return asyncio.run(_transcribe(samples, options, on_update or (lambda transcript: None)))


async def _transcribe(
    samples: Iterable[Samples], options: ClientOptions, on_update: Callable[[Transcript], None]
) -> Transcript:
    transcript = Transcript()
    async with _connected(options) as connection:
        sender = asyncio.create_task(_send(connection, samples, options.pace))
        try:
            async for text in connection:
                message = json.loads(text)
                if message.get("type") == "error":
                    raise _told(message)
                if message.get("type") == "ready_to_stop":
                    return transcript
                transcript.apply(message)
                on_update(transcript)
                if sender.done():
                    sender.result()
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        if not sender.cancelled():
            sender.result()
        raise ApplianceError(
            f"the server closed the connection ({connection.close_code}) before the end of the transcript",
            connection.close_reason or "look at the server's log",
            code="closed",
        )


@contextlib.asynccontextmanager
async def _connected(options: ClientOptions) -> AsyncIterator[ClientConnection]:
    url, where = _address(options), _without_query(options.url)
    try:
        async with connect(
            url,
            ssl=_ssl_context(options) if url.startswith("wss:") else None,
            max_size=None,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            proxy=None,
        ) as connection:
            yield connection
    except ConnectionClosed as error:
        raise ApplianceError(f"the connection to {where} broke: {error}", "look at the server's log") from error
    except InvalidURI as error:
        raise ApplianceError(
            f"not a WebSocket address: {options.url}", "for example wss://127.0.0.1:8000/asr"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ApplianceError(
            f"the certificate of {where} is not trusted: {error.verify_message}",
            "give the server's certificate with --cacert FILE (it is in its state folder), or --insecure",
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


async def _send(connection: ClientConnection, samples: Iterable[Samples], pace: Pace) -> None:
    """All audio in frames of 100 ms, then the empty frame. Decoding is done in a thread."""
    frames = pcm_frames(samples)
    started = time.monotonic()
    number = 0
    with contextlib.suppress(ConnectionClosed):  # the receiving side says why
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            number += 1
            if pace == "realtime":
                await asyncio.sleep(max(0.0, started + number * FRAME_S - time.monotonic()))
            await connection.send(frame)
        await connection.send(b"")


def pcm_frames(samples: Iterable[Samples]) -> Iterator[bytes]:
    """Mono float pieces of any size as s16le frames of 100 ms; the last may be shorter."""
    rest = np.zeros(0, dtype=np.float32)
    for piece in samples:
        rest = np.concatenate([rest, piece])
        whole = rest.size // FRAME_SAMPLES * FRAME_SAMPLES
        for start in range(0, whole, FRAME_SAMPLES):
            yield _s16le(rest[start : start + FRAME_SAMPLES])
        rest = rest[whole:]
    if rest.size:
        yield _s16le(rest)


def _s16le(samples: Samples) -> bytes:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def _address(options: ClientOptions) -> str:
    parts = urlsplit(options.url)
    query = {"mode": "diff", "format": "s16le", "rate": str(SAMPLE_RATE_HZ)}
    if options.words:
        query["words"] = "true"
    if options.language:
        query["language"] = options.language
    if options.token:
        query["token"] = options.token
    joined = "&".join(filter(None, [parts.query, urlencode(query)]))
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/asr", joined, ""))


def _without_query(url: str) -> str:
    return url.split("?")[0]


def _ssl_context(options: ClientOptions) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if options.certificate:
        try:
            context.load_verify_locations(options.certificate)
        except OSError as error:
            raise ApplianceError(f"can't use {options.certificate}: {error}", "give a PEM certificate") from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _told(message: dict[str, Any]) -> ApplianceError:
    hint = str(message.get("hint") or "")
    if "retry_after_s" in message:
        hint = f"{hint} (in {message['retry_after_s']} s)".strip()
    return ApplianceError(f"server: {message.get('message')}", hint, code=str(message.get("code", "error")))
