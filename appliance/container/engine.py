"""A container engine that answered, and what is asked of it: build, save, load, describe and run images."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any, Literal, get_args

from appliance.errors import ApplianceError
from appliance.run import run

Kind = Literal["docker", "podman", "buildah"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ENVIRONMENT = {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image that an engine holds.

    ``architecture``: such as ``amd64``. ``layers``: the SHA-256 of each uncompressed layer, the lowest first.
    ``size``: unpacked, in bytes, as the engine counts; 0 where it doesn't.
    """

    name: str
    image_id: str
    architecture: str
    labels: dict[str, str]
    layers: tuple[str, ...]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that answered; builds with BuildKit's (or buildah's) ``RUN --mount``. Buildah runs no containers.

    ``options``: what goes in front of every command, such as the runtime that works on this host.
    """

    kind: Kind
    program: Path
    version: str
    options: tuple[str, ...] = ()

    def run(
        self,
        words: Sequence[str | Path],
        *,
        check: bool = True,
        capture: bool = False,
        stdin: IO[bytes] | None = None,
        timeout_s: float | None = None,
        hint: str = "",
        before: Sequence[str] = (),
    ) -> CompletedProcess[str]:
        """Run one engine command, behind another program where ``before`` names one; raises as `appliance.run.run`."""
        return run(
            [*before, self.program, *self.options, *words],
            check=check,
            capture=capture,
            stdin=stdin,
            env={**os.environ, **ENVIRONMENT},
            timeout_s=timeout_s,
            hint=hint,
        )

    def output(self, words: Sequence[str | Path], *, timeout_s: float | None = None, hint: str = "") -> str:
        """What an engine command printed on stdout, stripped."""
        return self.run(words, capture=True, timeout_s=timeout_s, hint=hint).stdout.strip()

    def describe(self, name: str) -> LocalImage | None:
        """What the engine knows about a local image, None when it isn't there."""
        words = ["inspect", "--type", "image", name] if self.kind == "buildah" else ["image", "inspect", name]
        done = self.run(words, check=False, capture=True)
        if done.returncode != 0:
            return None
        found: Any = json.loads(done.stdout)
        if self.kind == "buildah":
            image_id, inside, size = found["FromImageID"], found["OCIv1"], 0
            architecture, config, layers = inside["architecture"], inside["config"], inside["rootfs"]["diff_ids"]
        else:
            (inside,) = found
            image_id, config, size = inside["Id"], inside["Config"], inside["Size"]
            architecture, layers = inside["Architecture"], inside["RootFS"]["Layers"]
        return LocalImage(
            name=name,
            image_id=f"sha256:{str(image_id).removeprefix('sha256:')}",
            architecture=architecture,
            labels=config.get("Labels") or {},
            layers=tuple(layers or ()),
            size=int(size),
        )

    def build(
        self,
        folder: Path,
        name: str,
        arguments: Mapping[str, str],
        *,
        architecture: str,
        use_cache: bool = True,
        hint: str = "",
    ) -> None:
        """Build the ``Dockerfile`` of a folder with networking off; without a cache all its steps are done anew.

        Args:
            architecture: of the image and its base, such as ``arm64``; this machine must be able to run it.

        Raises:
            ApplianceError: a step failed; the build's own output says which.
        """
        words: list[str | Path] = ["build", f"--platform=linux/{architecture}"]
        words += ["--file", folder / "Dockerfile", "--tag", name]
        for key, value in arguments.items():
            words += ["--build-arg", f"{key}={value}"]
        words += [] if use_cache else ["--no-cache"]
        before: tuple[str, ...] = ()
        if self.kind == "buildah":
            # Its steps share this host's network, so it gets a network of its own in which there is none.
            words += ["--isolation", "chroot"]
            before = ("unshare", "--net")
        else:
            words += ["--network=none"]
        if self.kind != "docker":
            words += ["--format", "docker", "--layers"]  # the OCI format has no health check
        self.run([*words, folder], before=before, hint=hint)

    def save(self, name: str, path: Path) -> None:
        """Write an image to an archive as `docker save` does.

        Raises:
            ApplianceError: the archive can't be written.
        """
        if self.kind == "buildah":
            words: list[str | Path] = ["push", "--quiet", name, f"docker-archive:{path}:{name}"]
        elif self.kind == "podman":
            words = ["save", "--quiet", "--format", "docker-archive", "--output", path, name]
        else:
            words = ["save", "--output", path, name]
        self.run(words, capture=True, hint=f"is there room on the disk of {path.parent}? df -h")

    def load(self, path: Path) -> None:
        """Take the image of an archive over, under the names that it holds.

        Raises:
            ApplianceError: the engine can't read it, or has no room.
        """
        words: list[str | Path] = ["load", "--quiet", "--input", path]
        if self.kind == "buildah":
            words = ["pull", "--quiet", f"docker-archive:{path}"]
        self.run(words, capture=True, hint="is there room on the engine's disk? df -h")

    def tag(self, name: str, other: str) -> None:
        self.run(["tag", name, other], capture=True)

    def forget(self, name: str) -> None:
        """Remove a name; the image goes with its last one. A name that isn't there is no error."""
        words = ["rmi", name] if self.kind == "buildah" else ["image", "rm", name]
        self.run(words, check=False, capture=True)

    @property
    def limits(self) -> tuple[str, ...]:
        """Options of `run` for a container's process limits: podman asks for more than some hosts allow."""
        return ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000") if self.kind == "podman" else ()

    def can_run(self) -> None:
        """Raises ApplianceError where this engine builds images and runs none."""
        if self.kind == "buildah":
            raise ApplianceError("buildah builds images and runs none", "use docker or podman: ENGINE=podman")
