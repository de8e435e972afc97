"""Copies an image into a registry with whichever tool is there, and reads it back: what the registry holds is compared.

Proxies are taken from the environment (``HTTPS_PROXY``, ``NO_PROXY``) by crane and skopeo; an engine's daemon has
settings of its own. Credentials are the tools' own (``docker login``, ``crane auth login``, ``skopeo login``).
"""

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from appliance.container.engine import Engine
from appliance.errors import ApplianceError, UsageError
from appliance.run import run

log = logging.getLogger(__name__)

Tool = Literal["crane", "skopeo", "engine"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
"""In the order in which they are looked for."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")
_HINT = "does the registry answer, and are you logged in there? One without TLS wants --insecure"


@dataclass(frozen=True, slots=True)
class Upload:
    """What goes where.

    ``archive``: the image, as an uncompressed docker archive; ``image_id``: its identifier. ``name``: such as
    ``wlk-appliance:0.1.0-cpu-base``. ``repository``: the registry's, such as ``host:5000/wlk/wlk-appliance``.
    ``insecure``: the registry speaks plain HTTP, or has a certificate that nothing here trusts.
    """

    archive: Path
    image_id: str
    name: str
    repository: str
    insecure: bool = False

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.name.partition(':')[2]}"

    def by_digest(self, digest: str) -> str:
        return f"{self.repository}@{digest}"


def repository(registry: str, name: str) -> str:
    """Where an image of that name goes in a registry, such as ``host:5000/wlk``.

    Raises:
        UsageError: it is no registry's address.
    """
    if not _REGISTRY.fullmatch(registry):
        raise UsageError(
            f"not a registry: {registry!r}", "HOST[:PORT][/FOLDER], without https://, such as host:5000/wlk"
        )
    return f"{registry}/{name.partition(':')[0]}"


def push(upload: Upload, tool: Tool | None, find_engine: Callable[[], Engine]) -> tuple[str, Tool]:
    """Copy an image into a registry, and see that it is there; returns the digest to pull it by, and the tool used.

    Args:
        tool: None for the first that is there.
        find_engine: gives the container engine, where that is the tool.

    Raises:
        ApplianceError: the tool isn't there or failed, or the registry holds another image than was sent.
    """
    chosen = tool or next((name for name in ("crane", "skopeo") if shutil.which(name)), None) or "engine"
    log.info("push: %s with %s", upload.reference, chosen)
    if chosen == "crane":
        digest, found = _crane(upload)
    elif chosen == "skopeo":
        digest, found = _skopeo(upload)
    else:
        digest, found = _with_engine(upload, find_engine())
    if found != upload.image_id:
        raise ApplianceError(
            f"{upload.by_digest(digest)} is {found}, not {upload.image_id}",
            "something changed it on the way: push again",
        )
    return digest, chosen


def _crane(upload: Upload) -> tuple[str, str]:
    options = ["--insecure"] if upload.insecure else []
    said = _output(["crane", "push", *options, upload.archive, upload.reference])
    digest = _digest(said, "crane")
    return digest, _config_of(_output(["crane", "manifest", *options, upload.by_digest(digest)]))


def _skopeo(upload: Upload) -> tuple[str, str]:
    verify = str(not upload.insecure).lower()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "digest")
        words: list[str | Path] = ["skopeo", "copy", "--quiet", f"--dest-tls-verify={verify}", "--digestfile", file]
        _output([*words, f"docker-archive:{upload.archive}", f"docker://{upload.reference}"])
        digest = _digest(file.read_text(encoding="ascii"), "skopeo")
    read = ["skopeo", "inspect", "--raw", f"--tls-verify={verify}", f"docker://{upload.by_digest(digest)}"]
    return digest, _config_of(_output(read))


def _with_engine(upload: Upload, engine: Engine) -> tuple[str, str]:
    """The engine's own push; what the registry holds is pulled again, by digest."""
    if engine.describe(upload.name) is None:
        engine.load(upload.archive)
    insecure = ["--tls-verify=false"] if upload.insecure and engine.kind != "docker" else []  # a setting of its daemon
    engine.tag(upload.name, upload.reference)
    try:
        with tempfile.TemporaryDirectory() as folder:
            if engine.kind == "docker":
                digest = _digest(engine.output(["push", upload.reference], hint=_HINT), "docker")
            else:
                file = Path(folder, "digest")
                engine.run(
                    ["push", "--quiet", *insecure, "--digestfile", file, upload.reference], capture=True, hint=_HINT
                )
                digest = _digest(file.read_text(encoding="ascii"), engine.kind)
        pulled = upload.by_digest(digest)
        engine.run(["pull", "--quiet", *insecure, pulled], capture=True, hint=_HINT)
        found = engine.describe(pulled)
        engine.forget(pulled)
    finally:
        engine.forget(upload.reference)
    return digest, found.image_id if found else "not there"


def _output(words: Sequence[str | Path]) -> str:
    return run(words, capture=True, hint=_HINT).stdout


def _digest(said: str, tool: str) -> str:
    found = _DIGEST.findall(said)
    if not found:
        raise ApplianceError(
            f"{tool} did not tell the digest of what it pushed: {said[-200:]!r}", "try another: --tool"
        )
    return str(found[-1])


def _config_of(manifest: str) -> str:
    """The image's identifier: the digest of its configuration."""
    try:
        return str(json.loads(manifest)["config"]["digest"])
    except (ValueError, LookupError, TypeError) as error:
        raise ApplianceError(f"the registry's manifest can't be read: {manifest[:200]!r}", "push again") from error
