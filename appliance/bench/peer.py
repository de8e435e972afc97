"""WhisperLiveKit as a subject: the same weights, the same audio, its own defaults else."""

import shutil
import wave
from dataclasses import dataclass
from pathlib import Path

from appliance.bench.clips import Clip
from appliance.bench.servers import Subject
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.run import output
from appliance.speech.types import SAMPLE_RATE_HZ

PROGRAM = "wlk"

_VERSION = "from importlib.metadata import version; print(version('whisperlivekit'))"


@dataclass(frozen=True, slots=True)
class Installed:
    """A WhisperLiveKit that is there."""

    program: Path
    version: str


def find_peer(program: str) -> Installed:
    """Look for a ``wlk``, by name or path.

    Raises:
        ApplianceError: it is not installed, or does not say its version.
    """
    found = shutil.which(program)
    if found is None:
        raise ApplianceError(
            f"no WhisperLiveKit at {program!r}",
            "install whisperlivekit in an environment of its own, and name its program: --peer ENVIRONMENT/bin/wlk",
        )
    python = Path(found).with_name("python")
    if not python.is_file():
        raise ApplianceError(f"no python beside {found}", "name the program inside the environment it is installed in")
    version = output([python, "-c", _VERSION], timeout_s=60, hint="is whisperlivekit installed in that environment?")
    return Installed(Path(found), version)


def peer(installed: Installed, pair: Pair, language: str, warm_up: Clip, folder: Path) -> Subject:
    """A WhisperLiveKit set up with the pair's weights; its checkpoint and warm-up file are made in ``folder``.

    Raises:
        ApplianceError: the pair's CTranslate2 model can't be made into a checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    argv = [
        str(installed.program),
        "--host",
        "127.0.0.1",
        "--backend",
        "faster-whisper",
        "--pcm-input",
        "--model",
        pair.name,
    ]
    argv += ["--language", language, "--encoder-model-path", str(pair.encoder_dir.resolve())]
    argv += ["--decoder-model-path", str(_checkpoint(pair, folder).resolve())]
    argv += ["--warmup-file", str(_wav(warm_up, folder / "warm-up.wav").resolve())]
    return Subject(name="WhisperLiveKit", version=installed.version, argv=tuple(argv), settings={"language": language})


def _checkpoint(pair: Pair, folder: Path) -> Path:
    """The pair's decoder as the peer reads it: a site's own ``.pt``, else one made from the CTranslate2 file."""
    if pair.decoder_file.suffix == ".pt":
        return pair.decoder_file
    import torch

    from appliance.baking.derive import checkpoint_from_ct2
    from appliance.pair.ct2_file import open_ct2

    file = open_ct2(pair.encoder_dir / "model.bin")
    weights = {name: torch.from_numpy(half.copy()) for name, half in checkpoint_from_ct2(file).items()}
    path = folder / f"{pair.name}.pt"
    torch.save({"dims": pair.dimensions.as_dict(), "model_state_dict": weights}, path)
    return path


def _wav(clip: Clip, path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(clip.pcm)
    return path
