from itertools import pairwise

from appliance.speech.transcript import LINE_S, LONGEST_LINE_S, RETAINED_LINES, SILENCE_LINE_S, Transcript
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Snapshot, Word


def word(text: str, start_s: float, end_s: float | None = None) -> Word:
    return Word(text, start_s, start_s + 0.3 if end_s is None else end_s, 0.9)


def lines(transcript: Transcript) -> Snapshot:
    return transcript.snapshot("", 0.0, 0.0)


def test_words_grow_one_line() -> None:
    transcript = Transcript()
    transcript.append([word(" He", 0.2), word(" was", 0.6)], "en")
    transcript.append([word(" not.", 1.0)], "en")
    [line] = lines(transcript).lines
    assert (line.text, line.speaker, line.start_s, line.end_s) == ("He was not.", FIRST_SPEAKER, 0.2, 1.3)
    assert [w.text for w in line.words] == [" He", " was", " not."]


def test_a_long_pause_becomes_a_silence_line() -> None:
    transcript = Transcript()
    transcript.append([word(" one", 0.0)], "en")
    transcript.append([word(" two", 0.3 + SILENCE_LINE_S)], "en")
    speakers = [line.speaker for line in lines(transcript).lines]
    assert speakers == [FIRST_SPEAKER, SILENCE, FIRST_SPEAKER]
    silence = lines(transcript).lines[1]
    assert (silence.text, silence.start_s, silence.end_s) == ("", 0.3, 0.3 + SILENCE_LINE_S)


def test_another_language_starts_another_line() -> None:
    transcript = Transcript()
    transcript.append([word(" yes", 0.0)], "en")
    transcript.append([word("好", 1.0)], "zh")
    assert [line.language for line in lines(transcript).lines] == ["en", "zh"]


def test_lines_are_bounded_in_length_and_number() -> None:
    transcript = Transcript()
    for second in range(4000):
        transcript.append([word(" on", float(second), second + 1.0)], "en")
        transcript.append([word(" and.", second + 0.5, second + 1.0)] if second % 10 == 0 else [], "en")
    for line in lines(transcript).lines:
        assert line.end_s - line.start_s <= LONGEST_LINE_S + 1.0
    spoken = [line for line in lines(transcript).lines if line.text]
    assert max(line.end_s - line.start_s for line in spoken) < LONGEST_LINE_S
    assert min(line.end_s - line.start_s for line in spoken[:-1]) >= LINE_S


def test_old_lines_are_dropped_from_the_front_and_counted() -> None:
    transcript = Transcript()
    for number in range(RETAINED_LINES + 5):
        transcript.append([word(f" w{number}", 0.0)], "en" if number % 2 else "de")
    snapshot = lines(transcript)
    assert len(snapshot.lines) == RETAINED_LINES
    assert snapshot.pruned == 5
    assert snapshot.lines[0].text == "w5"


def test_committed_text_only_grows() -> None:
    transcript = Transcript()
    said = []
    for number in range(200):
        transcript.append([word(f" w{number}", number * 0.7)], "en")
        transcript.close_line()
        said.append(" ".join(line.text for line in lines(transcript).lines))
    assert all(later.startswith(earlier) for earlier, later in pairwise(said))
