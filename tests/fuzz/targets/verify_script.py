"""The same at a site: `scripts/verify.sh` on a folder with this list, signed. What it calls good, the tools do too."""

import os
import re
import subprocess
from collections.abc import Iterator

from appliance.delivery.contents import LIST_FILE, SIGNATURE_FILE
from appliance.delivery.keys import load_public
from appliance.delivery.verify import verify_bundle
from appliance.errors import ApplianceError
from tests.conftest import ROOT
from tests.fuzz.bundles import folder, key, public_key, text
from tests.fuzz.watch import Finding

_BROKEN_SCRIPT = re.compile(r"line \d+: |unbound variable|syntax error|command not found|Permission denied")
_SLOWEST_S = 30.0


def clock() -> float:
    """Processor time with that of the script and what it starts."""
    return sum(os.times()[:4])


def seeds() -> Iterator[bytes]:
    yield text().encode()


def words() -> Iterator[bytes]:
    yield from (row.encode() + b"\n" for row in text().splitlines())
    yield from (
        b"file ",
        b"../",
        b"$(id)",
        b"`id`",
        b"size[$(id)]",
        b"9" * 5000,
        b"\n",
        b"\0",
        b"\xff",
        b"archive -x",
        b"a[0]",
    )


def one(data: bytes) -> bool:
    (folder() / LIST_FILE).write_bytes(data)
    (folder() / SIGNATURE_FILE).write_bytes(key().sign(data))
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "verify.sh", "--key", public_key(), folder()],
        env={"PATH": os.environ["PATH"], "WLK_PREFIX": "/nonexistent", "WLK_CONFIG": "/nonexistent"},
        capture_output=True,
        check=False,
        timeout=_SLOWEST_S,
    )
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        try:
            verify_bundle(folder(), load_public(public_key()))
        except ApplianceError as error:
            # The tool reads a list that was signed more strictly; of the files they must think the same.
            if not error.message.startswith(f"{LIST_FILE}, line"):
                raise
        return True
    if done.returncode != 1 or "error: " not in said or "hint: " not in said:
        raise Finding(f"status {done.returncode}: {said[:500]}")
    if any(
        _BROKEN_SCRIPT.search(line) for line in said.splitlines() if not line.startswith(("error: CONTENTS", "  hint"))
    ):
        raise Finding(said[:500])
    return False
