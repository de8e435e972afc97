"""All subprocesses go through here: argument lists only, failures that can be pasted into a shell."""

import logging
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from appliance.errors import ApplianceError

log = logging.getLogger(__name__)


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    capture: bool = False,
    input_text: str | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
    hint: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        argv: the program and its arguments; never a shell string.
        check: raise when it exits non-zero.
        capture: keep stdout and stderr in the result instead of passing them through.
        stdout: a file for what it prints, where that is not captured.
        hint: what to tell the user if it fails.

    Raises:
        ApplianceError: the program is missing, timed out, or failed while ``check`` is set.
    """
    words = [str(word) for word in argv]
    line = shlex.join(words)
    log.debug("running: %s", line)
    try:
        done = subprocess.run(
            words,
            check=False,
            text=True,
            input=input_text,
            stdin=stdin,
            stdout=subprocess.PIPE if capture else stdout,
            stderr=subprocess.PIPE if capture else None,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise ApplianceError(f"program not found: {words[0]}", hint or f"install it, then run: {line}") from error
    except subprocess.TimeoutExpired as error:
        raise ApplianceError(f"no answer within {timeout_s} s from: {line}", hint) from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout or "").strip() if capture else ""
        tail = "\n".join(said.splitlines()[-15:])
        raise ApplianceError(
            f"command failed with status {done.returncode}: {line}" + (f"\n{tail}" if tail else ""), hint
        )
    return done


def output(argv: Sequence[str | Path], *, timeout_s: float | None = None, hint: str = "") -> str:
    """What a command printed on stdout, stripped; raises as `run` does."""
    return run(argv, capture=True, timeout_s=timeout_s, hint=hint).stdout.strip()


def find_program(name: str, purpose: str, hint: str) -> Path:
    """Path of a program on PATH.

    Raises:
        ApplianceError: it is missing; the message says what it is needed for.
    """
    found = shutil.which(name)
    if found is None:
        raise ApplianceError(f"{name} is needed {purpose}, and is not installed", hint)
    return Path(found)
