"""WebM with Opus as browsers send it, in pieces that no browser would choose."""

import itertools

import pytest

from tests.conftest import Spoken
from tests.server.running import Running, committed, field_client, opened, updates, webm, word_errors

pytestmark = pytest.mark.model

_SIZES = (1, 2, 3, 5, 7, 11, 13, 251, 1021, 1, 4093)


def awkward(data: bytes) -> list[bytes]:
    """The data in pieces of one byte, of primes, of nothing that fits a block of the container."""
    sizes, at, found = itertools.cycle(_SIZES), 0, []
    while at < len(data):
        size = next(sizes)
        found.append(data[at : at + size])
        at += size
    return found


def heard(server: Running, data: bytes) -> str:
    with opened(server, "?language=en") as socket:
        messages = field_client(socket, awkward(data))
    assert messages[-1] == {"type": "ready_to_stop"}
    return committed(updates(messages)[-1])


def test_awkward_pieces_and_a_truncated_tail(server: Running, librivox: tuple[Spoken, ...]) -> None:
    data = webm(librivox[0].path)
    assert word_errors(librivox[0].transcript, heard(server, data)) <= 2
    assert word_errors(librivox[0].transcript, heard(server, data[:-61])) <= 3


def test_second_header_after_a_reconnect(server: Running, librivox: tuple[Spoken, ...]) -> None:
    """The recorder began anew while a proxy kept the connection: both recordings are heard, one after the other."""
    first, second = webm(librivox[0].path), webm(librivox[4].path)
    said = f"{librivox[0].transcript} {librivox[4].transcript}"
    assert word_errors(said, heard(server, first[:-61] + second)) <= 5
