"""A client of the `/asr` protocol: streams PCM, follows the transcript by differences."""

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI, WebSocketException

from appliance.client.state import Transcript
from appliance.errors import ApplianceError
from appliance.recording.playback import LAST_WORDS_S, Pace, paced
from appliance.speech.audio.pcm import s16le
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0

_PING_FRAMES = 10
"""Frames of audio between two questions how far the server has read: 1 s."""


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


def transcribe(
    samples: Iterable[Samples],
    options: ClientOptions,
    on_update: Callable[[Transcript], None] | None = None,
    stop: threading.Event | None = None,
) -> Transcript:
    """Stream audio to a server and follow the answer to its end.

    Setting ``stop`` ends the stream where it is; then the rest is waited for, for `LAST_WORDS_S` at most.

    Raises:
        ApplianceError: no server, an untrusted certificate, a refusal or an error of the server.
    """
    return asyncio.run(_transcribe(samples, options, on_update or (lambda transcript: None), stop or threading.Event()))


async def _transcribe(
    samples: Iterable[Samples],
    options: ClientOptions,
    on_update: Callable[[Transcript], None],
    stop: threading.Event,
) -> Transcript:
    transcript = Transcript()
    async with _connected(options) as connection:
        sender = asyncio.create_task(_send(connection, paced(samples, options.pace, stop), transcript))
        closer = asyncio.create_task(_close_after(connection, stop))
        try:
            async for text in connection:
                message = json.loads(text)
                if message.get("type") == "error":
                    raise _told(message)
                if message.get("type") == "ready_to_stop":
                    transcript.received_s = transcript.decided_s = transcript.sent_s
                    on_update(transcript)
                    return transcript
                _apply(transcript, message)
                on_update(transcript)
                if sender.done():
                    sender.result()
        except ConnectionClosed:
            if not stop.is_set():
                raise
        finally:
            for task in (sender, closer):
                task.cancel()
            await asyncio.gather(sender, closer, return_exceptions=True)
        if stop.is_set():
            return transcript
        if not sender.cancelled():
            sender.result()
        raise ApplianceError(
            f"the server closed the connection ({connection.close_code}) before the end of the transcript",
            connection.close_reason or "look at the server's log",
            code="closed",
        )


def _apply(transcript: Transcript, message: dict[str, Any]) -> None:
    try:
        transcript.apply(message)
    except (KeyError, TypeError, ValueError) as error:
        raise ApplianceError(
            f"the server's update makes no sense: {error!r}", "is it a server of this program? see docs/API.md"
        ) from error


async def _close_after(connection: ClientConnection, stop: threading.Event) -> None:
    while not stop.is_set():  # noqa: ASYNC110 (set from another thread, or a signal)
        await asyncio.sleep(0.1)
    await asyncio.sleep(LAST_WORDS_S)
    await connection.close()


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
            close_timeout=CLOSE_TIMEOUT_S,
            additional_headers={"Authorization": f"Bearer {options.token}"} if options.token else None,
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


async def _send(connection: ClientConnection, frames: Iterator[Samples], transcript: Transcript) -> None:
    """All audio, then the empty frame. Decoding and pace are a thread's."""
    with contextlib.suppress(ConnectionClosed):  # the receiving side says why
        for number in itertools.count(1):
            frame = await asyncio.to_thread(next, frames, None)
            if frame is None:
                break
            await connection.send(s16le(frame))
            transcript.sent_s += len(frame) / SAMPLE_RATE_HZ
            if number % _PING_FRAMES == 0:
                await connection.send(json.dumps({"type": "ping", "id": round(transcript.sent_s, 1)}))
        await connection.send(b"")


def _address(options: ClientOptions) -> str:
    parts = urlsplit(options.url)
    query = {"mode": "diff", "format": "s16le", "rate": str(SAMPLE_RATE_HZ)}
    if options.words:
        query["words"] = "true"
    if options.language:
        query["language"] = options.language
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
