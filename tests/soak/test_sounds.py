import numpy as np
import pytest

from appliance.bench.clips import Clip, SpokenWord
from appliance.soak.sounds import FORMS, Form, between_silence, encoded, pieces, plays
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.types import SAMPLE_RATE_HZ

LENGTH_S = 3.0
TONE = (np.sin(np.arange(int(LENGTH_S * SAMPLE_RATE_HZ)) * 0.2) * 8000).astype("<i2").tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_heard_as_it_was(form: Form) -> None:
    decoder = AudioDecoder("s16le" if form == "s16le" else "auto")
    heard = [piece for _, data in pieces(encoded(TONE, form), LENGTH_S) for piece in decoder.feed(data)]
    heard += decoder.finish()
    decoder.close()
    samples = np.concatenate(heard)
    assert abs(samples.size / SAMPLE_RATE_HZ - LENGTH_S) < 0.1
    assert float(np.sqrt(np.mean(samples**2))) == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.1)


def test_pieces_come_when_they_were_spoken() -> None:
    cut = list(pieces(TONE, LENGTH_S))
    assert b"".join(data for _, data in cut) == TONE
    assert [due_s for due_s, _ in cut] == pytest.approx([number / 10 for number in range(1, 31)])


def clip(name: str, language: str) -> Clip:
    return Clip(name, language, TONE, f"word of {name}", "", (SpokenWord("word", 1.0),))


def test_languages_are_played_each_by_itself() -> None:
    rows = plays([clip("a", "en"), clip("x", "fr"), clip("b", "en"), clip("c", "en")], 5.0)
    assert [row.name for row in rows] == ["en from a", "en from b", "fr from x"]
    assert rows[0].transcript == "word of a word of b" and rows[1].transcript == "word of b word of c"
    assert rows[2].transcript == "word of x word of x"


def test_words_between_silence_are_later() -> None:
    quiet = between_silence(clip("a", "en"), 2.2)
    assert quiet.length_s == LENGTH_S + 4 and quiet.words[0].end_s == 3.0
    assert quiet.pcm[:64000] == bytes(64000) and quiet.pcm[64000:-64000] == TONE
