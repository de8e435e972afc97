"""A connection to a server, and what it says first."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from appliance.client.options import OPEN_TIMEOUT_S, ClientOptions, server_error, told
from appliance.errors import ApplianceError

CLOSE_TIMEOUT_S = 2.0


async def dial(options: ClientOptions, session: str = "") -> tuple[ClientConnection, dict[str, Any]]:
    """Connect. With ``session``, the id of one, to go on with it.

    Returns:
        The connection, and the server's ``config`` message.

    Raises:
        ApplianceError: no server, an untrusted certificate, or a refusal with the server's code.
    """
    offered = ["wlk", f"wlk.resume.{session}"] if session else []
    with told(options.url):
        # Proxies of the environment are for the web; a server of the site is reached directly.
        connection = await connect(
            options.address,
            ssl=await asyncio.to_thread(options.ssl_context),
            additional_headers=options.headers,
            subprotocols=[Subprotocol(name) for name in offered] or None,
            max_size=None,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            # An answer waits behind the audio in the sockets, which a server that is behind reads slowly.
            ping_timeout=None,
            proxy=None,
        )
        config = None
        try:
            config = await _config(connection)
        finally:
            if config is None:
                await connection.close()
        return connection, config


async def _config(connection: ClientConnection) -> dict[str, Any]:
    """The server's first message."""
    message = parsed(await asyncio.wait_for(connection.recv(), OPEN_TIMEOUT_S))
    if message.get("type") == "error":
        raise server_error(message)
    if message.get("type") != "config":
        raise ApplianceError("the server's first message is no config", "is it a server of the /asr protocol?")
    return message


def parsed(data: str | bytes) -> dict[str, Any]:
    """A message of the server.

    Raises:
        ApplianceError: it is no JSON object.
    """
    try:
        message = json.loads(data)
    except ValueError as error:
        raise no_sense("not JSON") from error
    if not isinstance(message, dict):
        raise no_sense("no JSON object")
    return message


def no_sense(why: str) -> ApplianceError:
    return ApplianceError(
        f"the server's update makes no sense: {why}", "is it a server of this program? see docs/API.md"
    )
