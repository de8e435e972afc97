"""The addresses that take files. One coroutine carries a request from its first byte to its answer."""

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from appliance.batch.job import Heard, Job, Segment
from appliance.errors import ApplianceError
from appliance.log import session
from appliance.server.access import peer
from appliance.server.files import openai, whisperx
from appliance.server.files.form import Form, received
from appliance.server.files.result import Result
from appliance.server.refusals import openai_error
from appliance.server.service import Service
from appliance.speech.hypothesis import Task

log = logging.getLogger(__name__)

UPLOADS_FOLDER = "uploads"
_LAST_WORD_S = 1.0
"""How long a client has to take an error after its first event: it may come while the server stops."""
_SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]

Answers = AsyncGenerator[Segment | Heard, None]


def file_routes() -> list[Route]:
    return [
        Route("/v1/audio/transcriptions", OpenAiFiles("transcribe"), methods=["POST"]),
        Route("/v1/audio/translations", OpenAiFiles("translate"), methods=["POST"]),
        Route("/transcribe", WhisperXFiles(), methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", model, methods=["GET"]),
    ]


class Files(ABC):
    """An address that takes a form with a file; what it makes of it is for others to say."""

    file_field = "file"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service: Service = request.app.state.service
        with session():
            await self._serve(request, service, receive, send)

    async def _serve(self, request: Request, service: Service, receive: Receive, send: Send) -> None:
        settings = service.settings
        client = peer(request)
        try:
            client = service.access.admit(request)
            service.engine()
            with service.files.place(client):
                log.info("%s: sends a file", client)
                form_comes = received(
                    request,
                    self.file_field,
                    settings.state_dir / UPLOADS_FOLDER,
                    limit_bytes=settings.max_upload_mb * 1_000_000,
                    silence_s=settings.idle_timeout_s,
                )
                async with contextlib.AsyncExitStack() as kept:
                    async with service.files.until_close():
                        form = await kept.enter_async_context(form_comes)
                    await self.serve(form, service, receive, patient(send, settings.client_timeout_s), request.scope)
        except ClientDisconnect:
            log.info("%s: went away", client)
        except ApplianceError as error:
            _log(str(client), error)
            raise

    @abstractmethod
    async def serve(self, form: Form, service: Service, receive: Receive, send: Send, scope: Scope) -> None:
        """Answer a form that came whole."""


class OpenAiFiles(Files):
    """`/v1/audio/transcriptions` and `/v1/audio/translations`."""

    def __init__(self, task: Task) -> None:
        self._task = task

    async def serve(self, form: Form, service: Service, receive: Receive, send: Send, scope: Scope) -> None:
        wanted = openai.parse(form.fields, service.model)
        job = replace(
            _job(form, service, wanted.language),
            task=self._task,
            prompt=wanted.prompt or service.settings.initial_prompt,
            temperature=wanted.temperature,
            words=wanted.words,
        )
        if wanted.stream:
            await _stream(service, job, receive, send)
            return
        result = await _result(service, job, receive)
        answer = await asyncio.to_thread(openai.answer, wanted, self._task, result)
        await answer(scope, receive, send)


class WhisperXFiles(Files):
    """`/transcribe`."""

    file_field = "audio_file"

    async def serve(self, form: Form, service: Service, receive: Receive, send: Send, scope: Scope) -> None:
        wanted = whisperx.parse(form.fields)
        job = replace(
            _job(form, service, wanted.language),
            words=True,
            prompt=service.settings.initial_prompt,
            diarization=service.diarization,
            max_speakers=wanted.max_speakers or service.settings.max_speakers,
        )
        answer = await asyncio.to_thread(whisperx.answer, await _result(service, job, receive))
        await answer(scope, receive, send)


async def models(request: Request) -> Response:
    """The served model, by its own name and by OpenAI's."""
    service: Service = request.app.state.service
    service.access.admit(request)
    names = dict.fromkeys((service.model, openai.ALIAS))
    return JSONResponse({"object": "list", "data": [_model(name, service) for name in names]})


async def model(request: Request) -> Response:
    service: Service = request.app.state.service
    service.access.admit(request)
    name = request.path_params["name"]
    openai.check_model(name, service.model)
    return JSONResponse(_model(name, service))


def _model(name: str, service: Service) -> dict[str, object]:
    return {"id": name, "object": "model", "created": service.model_made, "owned_by": "wlk-appliance"}


def _job(form: Form, service: Service, language: str) -> Job:
    settings = service.settings
    language = language or settings.language
    service.engine().check_language(language)
    return Job(form.path, language, settings.languages, max_s=60.0 * settings.max_file_minutes)


@contextlib.asynccontextmanager
async def _work(service: Service, job: Job, receive: Receive) -> AsyncIterator[Answers]:
    """A file's answers, for as long as its client is there and the server does not stop.

    Raises:
        ClientDisconnect: it went away; the work has ended.
        ApplianceError: the server stops, or what `Desk.work` raises.
    """
    started = time.monotonic()
    gone = asyncio.ensure_future(_gone(receive))
    try:
        async with service.files.until_close(), contextlib.aclosing(service.files.work(job)) as answers:

            async def attended() -> Answers:
                while True:
                    step = asyncio.ensure_future(anext(answers, None))
                    try:
                        await asyncio.wait({gone, step}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not step.done():
                            step.cancel()
                            await asyncio.wait({step})
                    if step.cancelled():
                        raise ClientDisconnect
                    answer = step.result()
                    if answer is None:
                        return
                    if isinstance(answer, Heard):
                        log.info("file: %.1f s of audio in %.1f s", answer.duration_s, time.monotonic() - started)
                        service.metrics.heard_file(answer.duration_s)
                    yield answer

            async with contextlib.aclosing(attended()) as watched:
                yield watched
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _log(who: str, error: ApplianceError) -> None:
    level = logging.ERROR if error.code == "internal" else logging.INFO
    log.log(level, "%s: %s (%s)", who, error.message, error.code)


def patient(send: Send, timeout_s: float) -> Send:
    """The same, which does not wait for ever for a client that takes nothing: `ClientDisconnect`."""

    async def limited(message: Message) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await send(message)
        except TimeoutError as error:
            raise ClientDisconnect from error

    return limited


async def _result(service: Service, job: Job, receive: Receive) -> Result:
    segments: list[Segment] = []
    async with _work(service, job, receive) as answers:
        async for answer in answers:
            if isinstance(answer, Heard):
                return Result(segments, answer.duration_s, answer.language)
            segments.append(answer)
    raise AssertionError("the answers ended without their end")


async def _stream(service: Service, job: Job, receive: Receive, send: Send) -> None:
    """Server-sent events; they begin with the first text, so that a file that can't be read has its own status."""
    segments: list[Segment] = []
    begun = False
    try:
        async with _work(service, job, receive) as answers:
            async for answer in answers:
                if not begun:
                    begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": _SSE})
                if isinstance(answer, Heard):
                    body = openai.done_event(Result(segments, answer.duration_s, answer.language))
                else:
                    body = openai.delta_event(answer.text if segments else answer.text.lstrip())
                    segments.append(answer)
                await send({"type": "http.response.body", "body": body, "more_body": True})
    except ApplianceError as error:
        if not begun:
            raise
        _log("file", error)
        service.metrics.refused(error.code)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await send({"type": "http.response.body", "body": openai.sse(openai_error(error))})
        return
    await send({"type": "http.response.body", "body": b""})
