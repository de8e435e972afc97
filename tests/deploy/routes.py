"""The paths that the server answers."""

from typing import cast

from starlette.routing import Route, WebSocketRoute

from appliance.server.app import create_app
from appliance.server.service import Service

ROUTES = frozenset(
    route.path
    for route in create_app(cast(Service, None), lambda: None).routes
    if isinstance(route, Route | WebSocketRoute)
)
