"""Which recordings to measure a diarizer with: those whose speakers are known, and conversations joined of others."""

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.bench.recordings import INDEX_NAME, read_recordings, samples_of
from appliance.errors import ApplianceError
from appliance.speech.vad import VadModel
from appliance.talks.conversations import Turn, cut_turns, join
from appliance.talks.errors import read_rttm
from appliance.talks.measure import Talk

LEAST_EACH_S = 15.0
"""Speech of a reader, at least, who takes part in joined conversations."""

RECORDED = "recorded"


def recorded_talks(place: Path) -> Iterator[Talk]:
    """Each recording of a folder or index with RTTM beside it, or in a folder ``rttm`` beside the index."""
    folder = place if place.is_dir() else place.parent
    for recording in read_recordings(place, "all"):
        for file in (recording.path.with_suffix(".rttm"), folder / "rttm" / f"{recording.id}.rttm"):
            if file.is_file():
                yield Talk(recording.id, RECORDED, samples_of(recording), tuple(read_rttm(file)))
                break


def joined_talks(
    place: Path, vad: VadModel, speakers: Sequence[int], count: int, longest_s: float, seed: int
) -> Iterator[Talk]:
    """So many conversations of each number of speakers, joined of recordings of one reader each; who meets, by chance.

    Raises:
        ApplianceError: the index has no column ``speakers``, or there are too few readers.
    """
    readers = _readers(place, vad)
    chance = random.Random(seed)
    for number in speakers:
        if number > len(readers):
            raise ApplianceError(
                f"{place} has {len(readers)} readers with {LEAST_EACH_S:.0f} s of speech, not {number}",
                "add recordings, or join fewer",
            )
        for _ in range(count):
            chosen = sorted(chance.sample(sorted(readers), number))
            conversation = join({name: readers[name] for name in chosen}, longest_s, chance.getrandbits(32))
            yield Talk("+".join(chosen), f"{number} joined", conversation.samples, conversation.turns)


def _readers(place: Path, vad: VadModel) -> dict[str, list[Turn]]:
    """Turns of each reader who has enough of them."""
    alone = _alone(place / INDEX_NAME if place.is_dir() else place)
    turns: dict[str, list[Turn]] = {}
    for recording in read_recordings(place, "all"):
        if reader := alone.get(recording.id):
            turns.setdefault(reader, []).extend(cut_turns(samples_of(recording), vad))
    return {reader: own for reader, own in turns.items() if sum(turn.seconds for turn in own) >= LEAST_EACH_S}


def _alone(index: Path) -> dict[str, str]:
    """The reader of each recording that has one only, by the index's column ``speakers``: ``NAME``, or ``1:NAME``."""
    with index.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if "speakers" not in (table.fieldnames or ()):
            raise ApplianceError(f"{index} has no column speakers", "name there who reads: NAME, or 1:NAME")
        cells = {row["id"]: row["speakers"].removeprefix("1:") for row in table}
    return {name: cell for name, cell in cells.items() if cell and "," not in cell and ":" not in cell and cell != "0"}
