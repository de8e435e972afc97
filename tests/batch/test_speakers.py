"""Speakers of a file, from a diarizer that knows its turns and a recognizer that knows its text."""

from collections.abc import Iterable, Iterator

import numpy as np

from appliance.batch.job import Heard, Segment, Setup
from appliance.batch.speakers import told_apart
from appliance.speakers.load import DiarizerConfig
from appliance.speakers.sortformer_config import SortformerConfig
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker, Word
from tests.speakers.doubles import Scripted, turns, words


def segment(said: list[Word]) -> Segment:
    text = "".join(word.text for word in said)
    return Segment(text, said[0].start_s, said[-1].end_s, (1, 2), 0.0, -0.2, 1.1, 0.01, tuple(said))


def sound(seconds: int) -> list[Samples]:
    return [np.zeros(SAMPLE_RATE_HZ // 2, dtype=np.float32) for _ in range(2 * seconds)]


def spoken(answers: Iterable[Segment | Heard]) -> list[tuple[str | None, str]]:
    return [(answer.speaker, answer.text) for answer in answers if isinstance(answer, Segment)]


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    def recognize(samples: Iterable[Samples]) -> Iterator[Segment | Heard]:
        seconds = sum(piece.size for piece in samples) / SAMPLE_RATE_HZ
        yield segment(words("and so my fellow Americans ask"))
        yield Heard(seconds, "en")

    diarizer = Scripted(turns((1, 0, 3), (2, 3, 6)), names={Speaker(2): "Anna"})
    first, second, end = told_apart(diarizer, 3, sound(6), recognize)
    assert spoken([first, second]) == [("SPEAKER_00", " and so my"), ("Anna", " fellow Americans ask")]
    assert isinstance(second, Segment) and (second.start_s, second.end_s) == (3.0, 6.0)
    assert end == Heard(6.0, "en") and diarizer.most == [3]


def test_turns_of_a_long_file_are_known_from_its_beginning_and_given_when_they_are_final() -> None:
    """A part of five minutes is read before its first segment comes; the diarizer tells its last minute."""
    minute = 60
    script = turns(*((1 + minute % 3, 60.0 * minute, 60.0 * minute + 60) for minute in range(12)))
    came_after: list[float] = []
    read_s = 0.0

    class Forgetful(Scripted):
        def step(self, streams: object) -> None:  # type: ignore[override]
            super().step(streams)  # type: ignore[arg-type]
            stream = self.streams[0]
            stream.script = [turn for turn in stream.script if turn.end_s > stream.decided_s - minute]

    def recognize(samples: Iterable[Samples]) -> Iterator[Segment | Heard]:
        nonlocal read_s
        held: list[Samples] = []
        for piece in samples:
            held.append(piece)
            read_s += piece.size / SAMPLE_RATE_HZ
            if read_s % 300 == 0:
                for start in range(round(read_s) - 300, round(read_s), 30):
                    yield segment(words(" ".join(["word"] * 30), start))
                held.clear()
        yield Heard(read_s, "en")

    found = []
    for answer in told_apart(Forgetful(script), 0, sound(720 - 120), recognize):
        came_after.append(read_s)
        found.append(answer)
    assert [speaker for speaker, _ in spoken(found)] == [f"SPEAKER_{at // 2 % 3:02d}" for at in range(20)]
    assert came_after[:9] == [300.0] * 9 and isinstance(found[-1], Heard)


def test_a_segment_without_words_is_of_whom_most_of_it_is() -> None:
    def recognize(samples: Iterable[Samples]) -> Iterator[Segment | Heard]:
        list(samples)
        yield Segment(" Good morning.", 1.0, 4.0, (), 0.0, 0.0, 1.0, 0.0)
        yield Heard(5.0, "en")

    answers = told_apart(Scripted(turns((1, 0, 2), (2, 2, 5))), 0, sound(5), recognize)
    assert spoken(answers) == [("SPEAKER_01", " Good morning.")]


def test_the_process_is_told_which_diarizer() -> None:
    config = DiarizerConfig("sortformer", "a.nemo", "vad.onnx", "cuda", {"Anna": "a.wav"}, SortformerConfig(chunk=12))
    for setup in (Setup("model", "cuda", "float16", 2, config), Setup("model", "cpu", "int8", 1)):
        assert Setup.read(setup.line()) == setup
