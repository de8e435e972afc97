"""Showing how far a download is: a bar on a terminal, a plain line now and then elsewhere. Goes to stderr."""

import logging
import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

log = logging.getLogger(__name__)

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 5.0


class Progress:
    """Progress of one file; a context manager, so that the bar's line is always ended.

    Plain lines come at most every 5 s and never for a file that is done sooner.
    """

    def __init__(self, label: str, total: int | None, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._started_s = time.monotonic()
        self._start_bytes: int | None = None
        self._shown_s = self._started_s - (_LINE_EVERY_S if self._is_terminal else 0)
        self._drawn = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()

    def at(self, done: int) -> None:
        """Tell that ``done`` bytes of the file are here."""
        if self._start_bytes is None:
            self._start_bytes = done
        now_s = time.monotonic()
        finished = done == self._total
        wait_s = _BAR_EVERY_S if self._is_terminal else _LINE_EVERY_S
        if now_s - self._shown_s < wait_s and not (self._is_terminal and finished):
            return
        self._shown_s = now_s
        text = self._text(done, now_s)
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + text[: max(20, columns - 1)])
            self._stream.flush()
            self._drawn = True
        else:
            log.info("%s", text)

    def _text(self, done: int, now_s: float) -> str:
        rate = (done - (self._start_bytes or 0)) / max(now_s - self._started_s, 1e-3)
        if not self._total:
            return f"{self._label}  {done / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s"
        share = min(1.0, done / self._total)
        bar = f"[{'#' * int(share * 20):<20}]  " if self._is_terminal else ""
        left = f"  {(self._total - done) / rate:.0f} s left" if rate > 0 and done < self._total else ""
        amount = f"{done / 1e6:.1f} of {self._total / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s"
        return f"{self._label}  {bar}{share:4.0%}  {amount}{left}"
