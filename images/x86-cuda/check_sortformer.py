"""Prove that diarization works in the image: load the weights and stream a recording through them, on the CPU.

Usage: check_sortformer.py WEIGHTS.nemo [RECORDING.wav]
"""

import sys
from pathlib import Path

from appliance.speakers.sortformer import Sortformer
from appliance.speakers.sortformer_config import FRAME_S, SortformerConfig
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ

RECORDING = "/models/samples/librivox-0870.wav"


def main(weights: str, recording: str = RECORDING) -> None:
    diarizer = Sortformer.load(Path(weights), SortformerConfig())
    stream = diarizer.open_stream(0)
    samples = 0
    frames = []
    for piece in decode_file(Path(recording)):
        stream.feed(piece)
        samples += len(piece)
    stream.finish()
    while stream.pending:
        for probabilities in diarizer.hear([stream]):
            frames += list(probabilities)
    seconds = samples / SAMPLE_RATE_HZ
    assert stream.done and stream.decided_s == seconds, f"{stream.decided_s} s of {seconds} s"
    assert abs(len(frames) * FRAME_S - seconds) < 2 * FRAME_S, f"{len(frames)} frames for {seconds:.1f} s"
    assert all(0 <= each <= 1 for frame in frames for each in frame), "probabilities outside of 0 to 1"
    print(
        f"diarizer: {len(frames)} frames of {len(frames[0])} speakers for {seconds:.1f} s, turns: {len(stream.turns)}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
