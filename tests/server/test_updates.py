"""Difference updates against a client that follows the protocol, over random but lawful transcripts."""

import json
import random
from dataclasses import replace

from appliance.client import Transcript
from appliance.server.protocol import clock
from appliance.server.updates import UpdateWriter
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Snapshot, Speaker


def grown(random_: random.Random, lines: list[Line], at_s: float) -> list[Line]:
    """The next lawful state: the last line grows, or lines are added."""
    choice = random_.random()
    if choice < 0.5 and lines and lines[-1].speaker != SILENCE:
        last = lines[-1]
        return [*lines[:-1], Line(last.speaker, f"{last.text} w{at_s:.0f}", last.start_s, at_s)]
    if choice < 0.6:
        return [*lines, Line(SILENCE, "", at_s - 1, at_s), Line(FIRST_SPEAKER, f"after {at_s:.0f}", at_s, at_s)]
    if choice < 0.8:
        return [*lines, Line(FIRST_SPEAKER, f"line {at_s:.0f}", at_s, at_s)]
    if choice < 0.9 and len(lines) > 2:  # who spoke was somebody else, in one of the last lines; or two are one
        at = random_.randint(len(lines) - 3, len(lines) - 1)
        other = replace(lines[at], speaker=Speaker(random_.randint(1, 4)))
        return [*lines[:at], other, *lines[at + random_.randint(1, 2) :]]
    return lines


def test_client_of_differences_always_has_the_full_state() -> None:
    for seed in range(30):
        random_ = random.Random(seed)
        full, diff, client = UpdateWriter("full", words=False), UpdateWriter("diff", words=False), Transcript()
        lines: list[Line] = []
        pruned = 0
        for step in range(60):
            for _ in range(random_.randint(0, 3)):
                lines = grown(random_, lines, float(step))
            drop = random_.choice([0, 0, 0, 1, 4]) if len(lines) > 3 else 0
            lines, pruned = lines[min(drop, len(lines)) :], pruned + min(drop, len(lines))
            snapshot = Snapshot(tuple(lines), pruned, f"maybe {step}", 0.0, 0.0)
            whole, change = json.loads(full.message(snapshot, 1.0)), json.loads(diff.message(snapshot, 1.0))
            client.apply(change)
            assert client.lines == whole["lines"]
            assert client.tentative == whole["buffer_transcription"]
            assert change["seq"] == step + 1
            assert step == 0 or change["n_lines"] == len(lines)


def test_a_difference_holds_changed_lines_only() -> None:
    writer = UpdateWriter("diff", words=False)
    lines = tuple(Line(FIRST_SPEAKER, f"line {n}", n, n + 1) for n in range(500))
    writer.message(Snapshot(lines, 0, "", 0, 0), 0)
    same = json.loads(writer.message(Snapshot(lines, 0, "x", 0, 0), 0))
    assert same["new_lines"] == [] and same["n_lines"] == 500
    longer = (*lines[:-1], Line(FIRST_SPEAKER, "line 499 more", 499, 501), Line(FIRST_SPEAKER, "next", 501, 502))
    changed = json.loads(writer.message(Snapshot(longer, 0, "", 0, 0), 0))
    assert [line["text"] for line in changed["new_lines"]] == ["line 499 more", "next"]


def test_only_what_changed_is_sent_again_when_speakers_change() -> None:
    writer = UpdateWriter("diff", words=False)
    lines = tuple(Line(FIRST_SPEAKER, f"line {n}", n, n + 1) for n in range(50))
    writer.message(Snapshot(lines, 0, "", 0, 0), 0)
    equal = tuple(replace(line) for line in lines)
    assert json.loads(writer.message(Snapshot(equal, 0, "", 0, 0), 0))["new_lines"] == []
    joined = (*equal[:48], replace(equal[48], speaker=Speaker(2), text="line 48 line 49", end_s=50.0))
    changed = json.loads(writer.message(Snapshot(joined, 0, "", 0, 0), 0))
    assert changed["n_lines"] == 49
    assert [(line["speaker"], line["text"]) for line in changed["new_lines"]] == [(2, "line 48 line 49")]


def test_speakers_on_the_wire() -> None:
    line = Line(Speaker(2), "Good morning.", 0.0, 1.0, name="Anna")
    snapshot = Snapshot((line,), 0, " and", 5.0, 4.5, " How are you?", 3.2)
    update = json.loads(UpdateWriter("full", words=False).message(snapshot, 0.5))
    assert (update["lines"][0]["speaker"], update["lines"][0]["name"]) == (2, "Anna")
    assert update["buffer_diarization"] == "How are you?" and update["buffer_transcription"] == "and"
    assert update["remaining_time_diarization"] == 1.8


def test_more_pruned_than_the_client_ever_had() -> None:
    writer, client = UpdateWriter("diff", words=False), Transcript()
    first = tuple(Line(FIRST_SPEAKER, f"old {n}", n, n) for n in range(3))
    client.apply(json.loads(writer.message(Snapshot(first, 0, "", 0, 0), 0)))
    later = tuple(Line(FIRST_SPEAKER, f"new {n}", n, n) for n in range(2))
    client.apply(json.loads(writer.message(Snapshot(later, 10, "", 0, 0), 0)))
    assert [line["text"] for line in client.lines] == ["new 0", "new 1"]


def test_status_and_silence_line() -> None:
    writer = UpdateWriter("full", words=True)
    assert json.loads(writer.message(Snapshot((), 0, "", 0, 0), 0))["status"] == "no_audio_detected"
    quiet = Snapshot((Line(SILENCE, "", 0.0, 5.0),), 0, "", 0, 0)
    line = json.loads(writer.message(quiet, 0))["lines"][0]
    assert line == {"speaker": -2, "text": "", "start": "0:00:00.00", "end": "0:00:05.00", "words": []}


def test_clock() -> None:
    assert [clock(s) for s in (0, 1.234, 59.999, 61.5, 3600, 36001.01)] == [
        "0:00:00.00",
        "0:00:01.23",
        "0:01:00.00",
        "0:01:01.50",
        "1:00:00.00",
        "10:00:01.01",
    ]


def test_one_who_comes_back_takes_over_the_whole_state_and_what_fell_off_meanwhile() -> None:
    lines = tuple(Line(FIRST_SPEAKER, f"line {n}", n, n + 1) for n in range(6))
    client = Transcript()
    client.apply(json.loads(UpdateWriter("diff", words=False).message(Snapshot(lines[:4], 0, "", 0, 0), 0)))
    again = UpdateWriter("diff", words=False)
    snapshot = json.loads(again.message(Snapshot(lines[2:5], 2, "maybe", 0, 0), 0))
    assert (snapshot["type"], snapshot["seq"], snapshot["lines_pruned"]) == ("snapshot", 1, 2)
    client.apply(snapshot)
    assert client.committed == "line 0 line 1 line 2 line 3 line 4" and client.pruned == 2
    client.apply(json.loads(again.message(Snapshot(lines[3:], 3, "", 0, 0), 0)))
    assert client.committed == "line 0 line 1 line 2 line 3 line 4 line 5" and client.pruned == 3
    assert client.snapshot().pruned == 3 and len(client.snapshot().lines) == 3
