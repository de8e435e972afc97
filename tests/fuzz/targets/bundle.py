"""What a stick brings: the one file of a bundle, or (a byte chooses) one with this list, signed as if it were true."""

from collections.abc import Iterator

from appliance.delivery.contents import parse_contents
from appliance.delivery.delta import read_base
from appliance.delivery.keys import load_public
from appliance.delivery.verify import verify_bundle
from appliance.errors import ApplianceError
from tests.fuzz.bundles import key, public_key, single, text
from tests.fuzz.material import put
from tests.fuzz.watch import documented


def seeds() -> Iterator[bytes]:
    yield b"f" + single(text().encode())
    yield b"l" + text().encode()


def words() -> Iterator[bytes]:
    rows = text().splitlines()
    yield from (row.encode() + b"\n" for row in rows)
    yield from (
        b"file ",
        b"../",
        b"/etc/passwd",
        b"layer ",
        b"tag ",
        b"\xd9\xa1",
        b"9" * 5000,
        b"ustar\x0000",
        b"ustar  \0",
        b"\0" * 512,
    )


def one(data: bytes) -> bool:
    own, rest = data[:1], data[1:]
    file = put("given.bundle.tar", rest if own == b"f" else single(rest))
    taken = True
    for read in (_verify, read_base):
        try:
            read(file)
        except ApplianceError as error:
            documented(error, ("bundle", "error"))
            taken = False
    return taken


def _verify(file: object) -> None:
    from pathlib import Path

    contents = verify_bundle(Path(str(file)), load_public(public_key()))
    assert parse_contents(contents.text()) == contents and key()
