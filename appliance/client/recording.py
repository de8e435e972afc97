"""A whole recording through a server: what commands use, from a thread."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from appliance.client.connection import ClientStream, open_stream
from appliance.client.options import ClientOptions
from appliance.client.state import Transcript
from appliance.errors import ApplianceError
from appliance.recording.playback import LAST_WORDS_S, paced
from appliance.speech.audio.pcm import s16le
from appliance.speech.types import Samples

_POLL_S = 0.1


def transcribe(
    samples: Iterable[Samples],
    options: ClientOptions,
    on_update: Callable[[Transcript], None] | None = None,
    stop: threading.Event | None = None,
    on_kept: Callable[[], None] = lambda: None,
) -> Transcript:
    """Stream audio to a server and follow the answer to its end.

    Args:
        stop: setting it ends the stream where it is; then the rest is waited for, for `LAST_WORDS_S` at most.
        on_kept: called, before anything is sent, where the server keeps what is said.

    Raises:
        ApplianceError: no server, an untrusted certificate, a refusal or an error of the server.
    """
    watch, stop = on_update or (lambda transcript: None), stop or threading.Event()
    return asyncio.run(_transcribe(samples, options, watch, stop, on_kept))


async def _transcribe(
    samples: Iterable[Samples],
    options: ClientOptions,
    on_update: Callable[[Transcript], None],
    stop: threading.Event,
    on_kept: Callable[[], None],
) -> Transcript:
    async with open_stream(options) as stream:
        if stream.config.get("journal"):
            on_kept()
        sender = asyncio.create_task(_send(stream, paced(samples, options.pace, stop)))
        follower = asyncio.create_task(_follow(stream, on_update))
        stopper = asyncio.create_task(_last_words(stop))
        running = {sender, follower, stopper}
        try:
            while follower in running and stopper in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (sender, follower, stopper):
                task.cancel()
            await asyncio.gather(sender, follower, stopper, return_exceptions=True)
        return stream.transcript


async def _send(stream: ClientStream, frames: Iterator[Samples]) -> None:
    """All audio, then the end. Decoding and pace are a thread's."""
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        try:
            await stream.feed(s16le(frame))
        except ApplianceError:
            return  # `_follow` raises it too, after the last update
    with contextlib.suppress(ApplianceError):
        await stream.finish()


async def _follow(stream: ClientStream, on_update: Callable[[Transcript], None]) -> None:
    async for transcript in stream:
        on_update(transcript)


async def _last_words(stop: threading.Event) -> None:
    while not stop.is_set():  # noqa: ASYNC110 (set from another thread, or a signal)
        await asyncio.sleep(_POLL_S)
    await asyncio.sleep(LAST_WORDS_S)
