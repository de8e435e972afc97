"""Prove that NeMo works in the image: load diarizer weights and stream a recording through them, on the CPU.

Usage: check_sortformer.py WEIGHTS.nemo [RECORDING.wav]
"""

import sys
import wave

import numpy as np
import torch
from nemo.collections.asr.models import SortformerEncLabelModel

RECORDING = "/models/samples/librivox-0870.wav"
RATE_HZ, FRAME_S = 16_000, 0.08


def main(weights: str, recording: str = RECORDING) -> None:
    with wave.open(recording, "rb") as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate_hz = file.getframerate()
    assert rate_hz == RATE_HZ, f"{recording} has {rate_hz} Hz, not {RATE_HZ}"
    samples = torch.from_numpy(pcm.astype(np.float32) / 32768).unsqueeze(0)
    model = SortformerEncLabelModel.restore_from(weights, map_location="cpu").eval()
    assert model.streaming_mode, f"{weights} is not a streaming model"
    with torch.inference_mode():
        speaking = model(samples, torch.tensor([samples.shape[1]]))[0]
    seconds = samples.shape[1] / RATE_HZ
    assert abs(len(speaking) * FRAME_S - seconds) < 2 * FRAME_S, f"{len(speaking)} frames for {seconds:.1f} s"
    assert bool(((speaking >= 0) & (speaking <= 1)).all()), "probabilities outside of 0 to 1"
    print(f"diarizer: {len(speaking)} frames of {speaking.shape[1]} speakers for {seconds:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
