import json
from dataclasses import replace

import pytest

from appliance.server.files.result import Result
from appliance.server.files.whisperx import answer, parse
from appliance.server.refusals import FieldError
from tests.server.files.test_openai import RESULT


def test_fields() -> None:
    wanted = parse({"min_speakers": ["1"], "max_speakers": ["4"], "language": ["de"]})
    assert (wanted.min_speakers, wanted.max_speakers, wanted.language) == (1, 4, "de")
    assert parse({}).min_speakers is None


@pytest.mark.parametrize(
    ("least", "most", "field"),
    [
        ("0", "2", "min_speakers"),
        ("1", "many", "max_speakers"),
        ("3", "2", "max_speakers"),
        ("1.5", "", "min_speakers"),
    ],
)
def test_numbers_of_speakers_that_are_not_possible(least: str, most: str, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse({"min_speakers": [least], "max_speakers": [most]})
    assert caught.value.field == field and caught.value.hint


def test_segments_with_words_and_scores() -> None:
    said = json.loads(bytes(answer(RESULT).body))
    assert said["segments"][0] == {
        "start": 0.12,
        "end": 1.0,
        "text": " And so,",
        "words": [
            {"word": "And", "start": 0.12, "end": 0.4, "score": 0.9},
            {"word": "so,", "start": 0.4, "end": 1.0, "score": 0.8},
        ],
    }
    assert [word["word"] for word in said["word_segments"]] == ["And", "so,", "my", "fellow."]
    assert (said["language"], said["duration"]) == ("en", 3.2)


def test_speakers_stand_where_they_are_known() -> None:
    told = Result([replace(segment, speaker="SPEAKER_01") for segment in RESULT.segments], 3.2, "en")
    segment = json.loads(bytes(answer(told).body))["segments"][1]
    assert segment["speaker"] == "SPEAKER_01" and {word["speaker"] for word in segment["words"]} == {"SPEAKER_01"}
