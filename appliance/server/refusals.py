"""Errors over HTTP, in the shape of their address. Under ``/v1/`` it is OpenAI's, elsewhere that of the socket."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.errors import ApplianceError
from appliance.server.protocol import CLOSING_CODES, error_event

STATUS_BY_CODE = {
    "unauthorized": 401,
    "origin": 403,
    "not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "idle_timeout": 408,
    "too_large": 413,
    "too_long": 413,
    "bad_content_type": 415,
    "upgrade_required": 426,
    "too_many_files": 429,
    "internal": 500,
    "not_ready": 503,
    "over_capacity": 503,
    "unknown_session": 503,
    "restarting": 503,
    "no_room": 507,
}
"""What is not here is 400."""
ERROR_CODES = CLOSING_CODES | {*STATUS_BY_CODE}
"""Of all refusals, on the socket and over HTTP."""

_FIELD_BY_CODE = {
    "model_not_found": "model",
    "unsupported_language": "language",
    "too_large": "file",
    "too_long": "file",
    "unsupported_audio": "file",
}
_OPENAI = "/v1/"


class FieldError(ApplianceError):
    """A field of a form that is not possible."""

    def __init__(self, field: str, message: str, hint: str, *, code: str = "bad_request") -> None:
        super().__init__(message, hint, code=code)
        self.field = field


def restarting() -> ApplianceError:
    """What a client is told while the server stops."""
    return ApplianceError("the server is shutting down", "connect again in a moment", code="restarting")


async def refuse(request: Request, error: Exception) -> Response:
    """What a route raises for its client, before it sent anything."""
    assert isinstance(error, ApplianceError)
    request.app.state.service.metrics.refused(error.code)
    return refusal(request.url.path, error)


def refusal(path: str, error: ApplianceError, status: int = 0) -> Response:
    """The answer of this address to an error; its code says the status, if none is given."""
    status = status or STATUS_BY_CODE.get(error.code, 400)
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    event = error_event(error)
    if "retry_after_s" in event:
        headers["retry-after"] = str(event["retry_after_s"])
    return JSONResponse(openai_error(error, status) if path.startswith(_OPENAI) else event, status, headers)


def openai_error(error: ApplianceError, status: int = 0) -> dict[str, Any]:
    """The error as OpenAI's clients read it, with the hint in its message."""
    status = status or STATUS_BY_CODE.get(error.code, 400)
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status)
    param = error.field if isinstance(error, FieldError) else _FIELD_BY_CODE.get(error.code)
    return {
        "error": {
            "message": f"{error.message}; {error.hint}" if error.hint else error.message,
            "type": kind or ("server_error" if status >= 500 else "invalid_request_error"),
            "param": param,
            "code": error.code,
        }
    }
