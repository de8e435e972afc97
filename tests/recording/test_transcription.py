"""Lines collected from snapshots, the server's way of telling them, and the display."""

import io
import json
from typing import Any

import pytest

from appliance.client import Transcript
from appliance.recording.display import Display, columns_of, tail
from appliance.recording.transcription import Transcription
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Snapshot, Word


def line(number: int, language: str = "en") -> Line:
    word = Word(f" line{number}", float(number), number + 0.5, 0.75)
    return Line(FIRST_SPEAKER, f"line{number}", word.start_s, word.end_s, (word,), language)


def test_lines_that_fell_off_the_front_are_kept() -> None:
    transcription = Transcription()
    for count in range(1, 12):
        pruned = max(0, count - 3)
        lines = tuple(line(n) for n in range(pruned, count))
        transcription.update(Snapshot(lines, pruned, " maybe", float(count), count - 0.5))
    assert transcription.text == " ".join(f"line{n}" for n in range(11))
    assert [line.start_s for line in transcription.lines] == list(range(11))
    assert (transcription.tentative, transcription.lag_s, transcription.position_s) == ("maybe", 0.5, 10.5)


def test_times_are_those_of_the_recording() -> None:
    transcription = Transcription(offset_s=3600.0)
    lines = (Line(SILENCE, "", 0.0, 5.0), line(5), line(6, "de"), line(7, "de"))
    transcription.update(Snapshot(lines, 0, "", 8.0, 8.0))
    assert json.loads(transcription.render("json")) == {
        "text": "line5 line6 line7",
        "language": "de",
        "duration": 8.0,
        "lines": [
            {
                "speaker": 1,
                "text": f"line{n}",
                "start": 3600.0 + n,
                "end": 3600.5 + n,
                "language": language,
                "words": [{"text": f" line{n}", "start": 3600.0 + n, "end": 3600.5 + n, "probability": 0.75}],
            }
            for n, language in ((5, "en"), (6, "de"), (7, "de"))
        ],
    }
    assert transcription.render("srt").startswith("1\n01:00:05,000 --> 01:00:0")
    assert transcription.render("vtt").startswith("WEBVTT\n\n01:00:05.000 --> 01:00:0")
    assert transcription.render("text") == "line5 line6 line7\n"


def test_nothing_said() -> None:
    empty = Transcription()
    assert json.loads(empty.render("json")) == {"text": "", "language": None, "duration": 0.0, "lines": []}
    assert [empty.render("srt"), empty.render("vtt"), empty.render("text")] == ["", "WEBVTT\n", "\n"]


def told(number: int, text: str = "") -> dict[str, Any]:
    clock = f"1:00:{number:02d}.25"
    word = {"text": f" line{number}", "start": 3600.25 + number, "end": 3600.25 + number, "probability": 1.0}
    return {"speaker": 1, "text": text or f"line{number}", "start": clock, "end": clock, "words": [word]}


def test_server_updates_become_the_same_snapshots() -> None:
    state, transcription = Transcript(), Transcription()
    state.received_s = 4.0
    state.apply({"type": "snapshot", "seq": 1, "lines": [told(0), told(1, "li")], "remaining_time_transcription": 1.5})
    transcription.update(state.snapshot())
    state.apply({"type": "diff", "seq": 2, "n_lines": 3, "lines_pruned": 1, "new_lines": [told(1), told(2), told(3)]})
    transcription.update(state.snapshot())
    state.apply({"type": "pong"})
    assert state.committed == transcription.text == "line0 line1 line2 line3"
    assert (state.pruned, len(state.lines), state.snapshot().pruned) == (1, 3, 1)
    assert [line.start_s for line in transcription.lines] == [3600.25, 3601.25, 3602.25, 3603.25]
    assert transcription.lines[3].words == (Word(" line3", 3603.25, 3603.25, 1.0),)
    assert (transcription.received_s, transcription.decided_s) == (4.0, 4.0)
    state.received_s = 9.0
    assert state.snapshot().lag_s == 5.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def grown(count: int, tentative: str = "") -> Transcription:
    transcription = Transcription(60.0)
    transcription.update(Snapshot(tuple(line(n) for n in range(count)), 0, tentative, 10.0, 8.0))
    return transcription


def test_display_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    display = Display(total_s=3725.0, start_s=60.0)
    display.update(grown(30, "你好 perhaps"))
    display.update(grown(31))  # too soon to paint again
    shown = terminal.getvalue()
    assert shown.startswith("\r\x1b[K[1:08 / 1:02:05, ") and "lag 2.0 s] " in shown
    assert "line29 \x1b[2m你好 perhaps\x1b[0m" in shown and shown.count("\r") == 1
    visible = shown.removeprefix("\r\x1b[K").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert columns_of(visible) <= 79
    display.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_display_elsewhere_shows_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    display = Display()
    for count in (0, 2, 2, 3):
        display.update(grown(count, "maybe"))
    display.close()
    assert file.getvalue() == "line0 line1\nline2\n"


def test_columns() -> None:
    assert [columns_of("abc"), columns_of("你好"), columns_of("e\u0301")] == [3, 4, 1]
    assert [tail("abcdef", 3), tail("ab你好", 5), tail("abc", 0), tail("你", 1)] == ["def", "b你好", "", ""]
