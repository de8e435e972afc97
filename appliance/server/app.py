"""Routes: the page, the socket, health, the CA."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.server.asr import serve_asr
from appliance.server.files.endpoints import file_routes
from appliance.server.metrics import CONTENT_TYPE
from appliance.server.refusals import refusal, refuse
from appliance.server.service import Service
from appliance.server.trust import trust_routes

WEB = Path(__file__).parent / "web"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""What `WEB` holds is served under its name, where it is of these kinds."""
DESCRIPTION = Path(__file__).parent / "openapi.json"


def create_app(service: Service, on_failure: Callable[[], None], authority: Path | None = None) -> Starlette:
    """The application. Loading begins with its lifespan; ``on_failure`` is called if that fails.

    ``authority`` is the file of the CA that browsers may fetch and trust.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start_loading(on_failure)
        yield
        service.close()

    app = Starlette(
        routes=[
            Route("/", _asset("index.html", "text/html"), methods=["GET"]),
            *(Route(f"/{name}", _asset(name, kind), methods=["GET"]) for name, kind in web_assets().items()),
            *trust_routes(authority),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Route("/openapi.json", _file(DESCRIPTION, "application/json"), methods=["GET"]),
            *file_routes(),
            Route("/asr", upgrade_needed),
            WebSocketRoute("/asr", serve_asr),
            WebSocketRoute("//asr", serve_asr),
        ],
        exception_handlers={HTTPException: refused, ApplianceError: refuse, Exception: failed},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


async def healthz(request: Request) -> Response:
    """Whether the process works: 200; or 503, and then it should be ended and started again."""
    service: Service = request.app.state.service
    alive = service.alive
    return JSONResponse({"status": "ok" if alive else "stuck", "version": __version__}, 200 if alive else 503)


async def readyz(request: Request) -> Response:
    """Whether clients are served now: 200 or 503."""
    service: Service = request.app.state.service
    ready = service.status == "ready"
    return JSONResponse(
        service.report(), status_code=200 if ready else 503, headers=None if ready else {"retry-after": "3"}
    )


def metrics(request: Request) -> Response:
    """For Prometheus. Not async: it reads files, so it runs in a thread."""
    service: Service = request.app.state.service
    service.access.admit(request)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


async def upgrade_needed(request: Request) -> Response:
    error = ApplianceError(
        "this address speaks WebSocket only", "open it with ws:// or wss://", code="upgrade_required"
    )
    answer = refusal(request.url.path, error)
    answer.headers.update({"upgrade": "websocket", "connection": "upgrade"})
    return answer


async def refused(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405) in our shape of errors."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    seen = ApplianceError(f"{request.method} {request.url.path}: {error.detail}", "see docs/API.md", code=code)
    answer = refusal(request.url.path, seen, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def failed(request: Request, error: Exception) -> Response:
    """What nobody expected; it is raised again behind this answer, and uvicorn logs it."""
    return refusal(request.url.path, ApplianceError("this failed here", "the server's log says more", code="internal"))


def web_assets() -> dict[str, str]:
    """Name and media type of each file that belongs to the page."""
    return {file.name: MEDIA_TYPES[file.suffix] for file in sorted(WEB.iterdir()) if file.suffix in MEDIA_TYPES}


def _asset(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    return _file(WEB / name, media_type)


def _file(file: Path, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = file.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer
