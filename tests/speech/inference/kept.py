"""A keeper and its turns, with what tests want to know of them."""

import threading
from dataclasses import replace

from appliance.errors import ApplianceError
from appliance.speech.hypothesis import Request
from appliance.speech.inference.keeper import Keeper
from appliance.speech.inference.turns import Outcome, Turns
from appliance.speech.types import SAMPLE_RATE_HZ
from tests.speech.doubles import speech
from tests.speech.inference.test_wire import CONFIG

LIMIT_S = 60.0


class Kept(Keeper):
    """With what tests want to know."""

    def __init__(self, command: list[str], step_timeout_s: float = 30.0) -> None:
        super().__init__(replace(CONFIG, device="cpu", workers=2, step_timeout_s=step_timeout_s), command)
        self.turns = Turns(self)
        self.replacements = threading.Semaphore(0)
        self.on_replaced = self.replacements.release
        self.failed = threading.Event()
        self.on_failure = lambda error: self.failed.set()

    def wait_replaced(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.replacements.acquire(timeout=LIMIT_S)
        assert not self.recovering

    def said(self, *first: int) -> list[list[int] | str]:
        """The words of passes over two words each, the first of them given; or what code of error there was."""
        return [told(outcome) for outcome in self.turns.recognize([asked(number) for number in first])]


def asked(first: int) -> Request:
    window = speech(first, 2)
    return Request(window, len(window) + SAMPLE_RATE_HZ, language="en", is_final=True)


def told(outcome: Outcome) -> list[int] | str:
    return outcome.code if isinstance(outcome, ApplianceError) else [token.id for token in outcome.tokens]
