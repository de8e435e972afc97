"""The server's fixtures, for the commands that talk to one."""

from tests.server.conftest import flags, server

__all__ = ["flags", "server"]
