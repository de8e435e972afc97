"""The process that works on files, one after the other: jobs come on stdin, text goes to stdout as it is found.

It gives way to the streams next door: it runs at the lowest priority, with few threads, and is the first to go where
memory runs out. Its parent kills it when a job is not wanted any more, and it ends when its stdin does.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from appliance.batch.job import Heard, Job, Segment, Setup, error_line
from appliance.batch.length import check_length
from appliance.batch.speakers import told_apart
from appliance.errors import ApplianceError
from appliance.speakers.diarizer import Diarizer
from appliance.speakers.load import DiarizerConfig, load_diarizer
from appliance.speech.audio.file import decode_file
from appliance.speech.children import belong_to_the_parent
from appliance.speech.vad import disable_telemetry

log = logging.getLogger(__name__)

_LEAST_PRIORITY = 19
_FIRST_TO_GO = "1000"


def main() -> None:
    """Serve jobs until stdin ends. Its first line is a `Setup`, which is for no list of processes: it has names."""
    give_way()
    setup = Setup.read(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not come between
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    disable_telemetry()
    from appliance.batch.recognizer import FileRecognizer  # the heavy part, after the priority is set

    recognizer: FileRecognizer | None = None
    diarizer: Diarizer | None = None
    while True:
        job = Job.read(jobs.get())
        try:
            check_length(Path(job.path), job.max_s)
            recognizer = recognizer or FileRecognizer(setup)
            recognize = partial(recognizer.hear, job=job)
            samples = decode_file(Path(job.path))
            found: Iterable[Segment | Heard]
            if job.diarization and setup.diarizer:
                diarizer = diarizer or _diarizer(setup.diarizer, setup.threads)
                found = told_apart(diarizer, job.max_speakers, samples, recognize)
            else:
                found = recognize(samples)
            for answer in found:
                answers.write(answer.line())
        except ApplianceError as error:
            _refuse(answers, job, error)
        except (MemoryError, RuntimeError) as error:
            log.error("a file could not be worked on: %s: %s", type(error).__name__, error)
            hint = "send it again; the server's log says more"
            _refuse(answers, job, ApplianceError("the file could not be worked on", hint, code="internal"))


def _diarizer(config: DiarizerConfig, threads: int) -> Diarizer:
    import torch  # which a process without a diarizer does not need

    torch.set_num_threads(threads)
    return load_diarizer(config)


def give_way() -> None:
    os.nice(_LEAST_PRIORITY)
    belong_to_the_parent(_FIRST_TO_GO)


def _read(jobs: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)  # the parent is gone, or wants no more


def _refuse(answers: BinaryIO, job: Job, error: ApplianceError) -> None:
    """In one line. Where an upload lies is nobody's business."""
    message, hint = (" ".join(text.split()) for text in (error.message.replace(job.path, "the file"), error.hint))
    answers.write(error_line(ApplianceError(message, hint, code=error.code)))


if __name__ == "__main__":
    main()
