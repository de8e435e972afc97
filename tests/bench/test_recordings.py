import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.bench.recordings import Recording, choose, read_recordings, samples_of
from appliance.errors import ApplianceError

HEAD = "id\tfile\tseconds\tlanguage\treference transcript\tnotes\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(bytes(3200))
    return tmp_path


def index(folder: Path, text: str) -> Path:
    path = folder / "index.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_index_is_read_by_its_columns(folder: Path) -> None:
    rows = 'one\ta.wav\t0.1\ten\tHe said "no\t-\ntwo\tb.wav\t0.1\tmixed\t-\t\nthree\ta.wav\t1\tnone\t\tquiet\n'
    path = index(folder, HEAD + rows)
    expected = [
        Recording("one", folder / "a.wav", "en", 'He said "no'),
        Recording("two", folder / "b.wav", "auto", None),
        Recording("three", folder / "a.wav", "auto", ""),
    ]
    assert read_recordings(path, "de") == expected
    assert read_recordings(folder, "de") == expected


def test_a_folder_without_index(folder: Path) -> None:
    (folder / "a.txt").write_text(" hello \n")
    (folder / "notes.md").write_text("no sound")
    assert read_recordings(folder, "de") == [
        Recording("a", folder / "a.wav", "de", "hello"),
        Recording("b", folder / "b.wav", "de", None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column id, file, language, reference transcript"),
        ("id\tfile\tlanguage\n", "line 1: no column reference transcript"),
        (HEAD, "line 1: no rows"),
        (HEAD + "one\ta.wav\t1\n", "line 2: too few columns: language, reference transcript missing"),
        (HEAD + "one\ta.wav\t1\ten\tx\t\n\tb.wav\t1\ten\ty\t\n", "line 3: id and file must not be empty"),
        (HEAD + "one\tnone.wav\t1\ten\tx\t\n", "line 2: no file"),
        (HEAD + "one\ta.wav\t1\ten\tx\t\none\tb.wav\t1\ten\ty\t\n", "line 3: the id 'one' is given twice"),
    ],
)
def test_a_fault_of_an_index_is_told_by_its_line(folder: Path, text: str, said: str) -> None:
    path = index(folder, text)
    with pytest.raises(ApplianceError) as caught:
        read_recordings(path, "en")
    assert caught.value.message.startswith(f"{path}, {said}")
    assert "reference transcript" in caught.value.hint


def test_no_index_or_none_that_is_text(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no recordings in") as caught:
        read_recordings(tmp_path, "en")
    assert "index.tsv" in caught.value.hint
    with pytest.raises(ApplianceError, match="can't read"):
        read_recordings(tmp_path / "nothing.tsv", "en")
    (tmp_path / "index.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(ApplianceError, match="is not UTF-8 text"):
        read_recordings(tmp_path, "en")


def test_choosing_by_id_or_language() -> None:
    one, two, three = (
        Recording(i, Path(i), lang, text) for i, lang, text in (("1", "en", "x"), ("2", "de", None), ("3", "auto", ""))
    )
    every = [one, two, three]
    assert choose(every, only=("3", "1"), language="de") == [three, one]
    assert choose(every, only=(), language="en") == [one, three]
    assert choose(every, only=(), language="all") == every
    with pytest.raises(ApplianceError, match="no such recording: 9") as caught:
        choose(every, only=("9", "1"), language="en")
    assert caught.value.hint == "there are: 1, 2, 3"
    with pytest.raises(ApplianceError, match="no recordings of language 'fr'"):
        choose(every, only=(), language="fr")


def test_samples_and_what_is_none(folder: Path) -> None:
    samples = samples_of(Recording("a", folder / "a.wav", "en", ""))
    assert samples.dtype == np.float32 and samples.shape == (1600,)
    (folder / "c.wav").write_text("text")
    with pytest.raises(ApplianceError, match="no audio that can be decoded"):
        samples_of(Recording("c", folder / "c.wav", "en", ""))
