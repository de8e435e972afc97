"""A growing transcript on stderr, and where it is: in place on a terminal, line by line elsewhere."""

import shutil
import sys
import time
import unicodedata

from appliance.recording.playback import show_time
from appliance.recording.transcription import Transcription

_REPAINT_S = 0.1
_LEAST_COLUMNS = 20


class Display:
    """Shows a `Transcription` whenever `update` is called; quick calls are skipped on a terminal.

    Args:
        total_s: how long the recording is, where that is known.
        start_s: where in the recording the stream begins.
    """

    def __init__(self, total_s: float | None = None, start_s: float = 0.0) -> None:
        self._total_s = total_s
        self._start_s = start_s
        self._in_place = sys.stderr.isatty()
        self._committed = ""
        self._started = time.monotonic()
        self._painted = 0.0

    def update(self, transcription: Transcription) -> None:
        if self._in_place:
            now = time.monotonic()
            if now - self._painted >= _REPAINT_S:
                self._painted = now
                self._write(f"\r\x1b[K{self._line(transcription, shutil.get_terminal_size().columns - 1)}")
            return
        committed = transcription.text
        if len(committed) > len(self._committed):
            self._write(f"{committed[len(self._committed) :].strip()}\n")
            self._committed = committed

    def close(self) -> None:
        if self._in_place:
            self._write("\r\x1b[K")

    def _line(self, transcription: Transcription, columns: int) -> str:
        """Position, speed and lag, then the end of the text; what may still change is dim."""
        status = f"[{self.status(transcription)}] "
        room = max(_LEAST_COLUMNS, columns - columns_of(status))
        tentative = tail(transcription.tentative, room // 2)
        committed = tail(transcription.text[-room:], room - columns_of(tentative) - 1)
        return f"{status}{committed} \x1b[2m{tentative}\x1b[0m"

    def status(self, transcription: Transcription) -> str:
        """For example ``1:23 / 4:56, 3.1x, lag 0.8 s``; speed as a multiple of real time."""
        position_s = int(transcription.position_s)
        of = f" / {show_time(int(self._total_s))}" if self._total_s else ""
        elapsed_s = max(0.001, time.monotonic() - self._started)
        speed = (transcription.position_s - self._start_s) / elapsed_s
        return f"{show_time(position_s)}{of}, {speed:.1f}x, lag {transcription.lag_s:.1f} s"

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(_columns(character) for character in text)


def tail(text: str, columns: int) -> str:
    """The end of a text that fits so many columns."""
    at = len(text)
    while at > 0 and (columns := columns - _columns(text[at - 1])) >= 0:
        at -= 1
    return text[at:]


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
