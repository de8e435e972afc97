"""Prove that NeMo works in the image: load diarizer weights and stream a recording through them, on the CPU.

Usage: check_sortformer.py WEIGHTS.nemo [RECORDING.wav]
"""

import sys
import tarfile
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch
from nemo.collections.asr.models import SortformerEncLabelModel
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector

RECORDING = "/models/samples/librivox-0870.wav"
RATE_HZ, FRAME_S = 16_000, 0.08


def load(weights: str) -> SortformerEncLabelModel:
    """NeMo's own unpacking wants a newer Python (3.11.4) than Debian's."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(weights) as archive:
            for member in archive:
                if member.isfile():
                    Path(folder, Path(member.name).name).write_bytes(archive.extractfile(member).read())
        connector = SaveRestoreConnector()
        connector.model_extracted_dir = folder
        return SortformerEncLabelModel.restore_from(folder, map_location="cpu", save_restore_connector=connector)


def main(weights: str, recording: str = RECORDING) -> None:
    with wave.open(recording, "rb") as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate_hz = file.getframerate()
    assert rate_hz == RATE_HZ, f"{recording} has {rate_hz} Hz, not {RATE_HZ}"
    samples = torch.from_numpy(pcm.astype(np.float32) / 32768).unsqueeze(0)
    model = load(weights).eval()
    assert model.streaming_mode, f"{weights} is not a streaming model"
    with torch.inference_mode():
        speaking = model(samples, torch.tensor([samples.shape[1]]))[0]
    seconds = samples.shape[1] / RATE_HZ
    assert abs(len(speaking) * FRAME_S - seconds) < 2 * FRAME_S, f"{len(speaking)} frames for {seconds:.1f} s"
    assert bool(((speaking >= 0) & (speaking <= 1)).all()), "probabilities outside of 0 to 1"
    print(f"diarizer: {len(speaking)} frames of {speaking.shape[1]} speakers for {seconds:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
