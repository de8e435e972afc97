"""The process that works on files, one after the other: jobs come on stdin, text goes to stdout as it is found.

It gives way to the streams next door: it runs at the lowest priority, with few threads, and is the first to go where
memory runs out. Its parent kills it when a job is not wanted any more, and it ends when its stdin does.
"""

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from appliance.batch.job import Job, Setup, error_line
from appliance.batch.length import check_length
from appliance.errors import ApplianceError
from appliance.speech.audio.file import decode_file
from appliance.speech.vad import disable_telemetry

log = logging.getLogger(__name__)

_LEAST_PRIORITY = 19
_FIRST_TO_GO = "1000"


def main() -> None:
    """Serve jobs until stdin ends. The one argument is a `Setup` in JSON."""
    give_way()
    setup = Setup(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not come between
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    disable_telemetry()
    from appliance.batch.recognizer import FileRecognizer  # the heavy part, after the priority is set

    recognizer: FileRecognizer | None = None
    while True:
        job = Job.read(jobs.get())
        try:
            check_length(Path(job.path), job.max_s)
            recognizer = recognizer or FileRecognizer(setup)
            for answer in recognizer.hear(decode_file(Path(job.path)), job):
                answers.write(answer.line())
        except ApplianceError as error:
            _refuse(answers, job, error)
        except (MemoryError, RuntimeError) as error:
            log.error("a file could not be worked on: %s: %s", type(error).__name__, error)
            hint = "send it again; the server's log says more"
            _refuse(answers, job, ApplianceError("the file could not be worked on", hint, code="internal"))


def give_way() -> None:
    os.nice(_LEAST_PRIORITY)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _read(jobs: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)  # the parent is gone, or wants no more


def _refuse(answers: BinaryIO, job: Job, error: ApplianceError) -> None:
    """Where an upload lies is nobody's business."""
    answers.write(error_line(ApplianceError(error.message.replace(job.path, "the file"), error.hint, code=error.code)))


if __name__ == "__main__":
    main()
