"""A server as it is, but that its process for inference dies of Welsh, and those that decode sound of some bytes.

Run before its own command: ``poisoned.py CMD``. With ``--worker`` it is the process for inference.
"""

import ctypes
import sys
from collections.abc import Sequence

from appliance.cli import main
from appliance.speech.audio import apart
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference import keeper, worker
from tests.speech.audio import poisoned

POISON = "cy"


class Poisoned:
    def __init__(self, recognizer: worker.Recognizer) -> None:
        self._recognizer = recognizer

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        if any(request.language == POISON for request in requests):
            ctypes.string_at(0)
        return self._recognizer.recognize(requests)


def load(config: EngineConfig) -> Poisoned:
    return Poisoned(worker.load_recognizer(config))


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        worker.main(load)
    else:
        keeper.Keeper.__init__.__defaults__ = ((sys.executable, "-m", "tests.server.poisoned", "--worker"),)
        apart.Decoders.__init__.__defaults__ = ((sys.executable, "-m", poisoned.__name__),)
        sys.exit(main(sys.argv[sys.argv.index("serve") :]))
