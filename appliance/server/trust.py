"""The CA for browsers to fetch, and a page that says how they come to trust it."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from appliance.server.authority import fingerprint, pem
from appliance.server.certificate import load

PAGE = Path(__file__).parent / "web" / "ca.html"
FILE_NAME = "wlk-appliance-ca.crt"
"""PEM inside; Windows and Android know what to do with files that are called so."""


def trust_routes(authority: Path | None) -> list[Route]:
    """``/ca`` and ``/ca.pem``; without a CA of ours the page says that there is nothing to do."""
    page = PAGE.read_text(encoding="utf-8")

    # Not async: both read a file, so they run in a thread.
    def instructions(request: Request) -> Response:
        found = load(authority) if authority else None
        shown = page.replace("{{lang}}", "zh-Hans" if _wants_chinese(request) else "en")
        shown = shown.replace("{{ca}}", "ours" if found else "none")
        shown = shown.replace("{{fingerprint}}", fingerprint(found) if found else "")
        return HTMLResponse(shown, headers={"vary": "accept-language"})

    def download(request: Request) -> Response:
        found = load(authority) if authority else None
        if found is None:
            raise HTTPException(404, "no CA to trust: this server has a certificate of the site's own, or no TLS")
        return Response(
            pem(found),
            media_type="application/x-x509-ca-cert",
            headers={"content-disposition": f'attachment; filename="{FILE_NAME}"'},
        )

    return [Route("/ca", instructions, methods=["GET"]), Route("/ca.pem", download, methods=["GET"])]


def _wants_chinese(request: Request) -> bool:
    asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
    return asked.split(",")[0].strip().lower().startswith("zh")
