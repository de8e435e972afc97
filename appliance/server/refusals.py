"""Errors over HTTP, in the shape of their address. Under ``/v1/`` it is OpenAI's, elsewhere that of the socket."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.errors import ApplianceError
from appliance.server.protocol import http_refusal

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


async def refuse(request: Request, error: Exception) -> Response:
    """What a route raises for its client, before it sent anything."""
    assert isinstance(error, ApplianceError)
    return refusal(request, error)


def refusal(request: Request, error: ApplianceError, status: int = 0) -> Response:
    """The answer of this address to an error; its code says the status, if none is given."""
    body, usual, headers = http_refusal(error)
    if request.url.path.startswith(_OPENAI):
        body = openai_error(error, status)
    return JSONResponse(body, status or usual, headers)


def openai_error(error: ApplianceError, status: int = 0) -> dict[str, Any]:
    """The error as OpenAI's clients read it, with the hint in its message."""
    status = status or http_refusal(error)[1]
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
