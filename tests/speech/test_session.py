"""Real speech through the real `base` pair, without a server."""

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.speech import session as session_module
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.engine import Engine, EngineConfig
from appliance.speech.session import Session, SessionOptions
from appliance.speech.types import SAMPLE_RATE_HZ, SILENCE, Samples, Snapshot
from appliance.words import normalise, word_errors
from tests.conftest import Spoken

pytestmark = pytest.mark.model


def samples_of(path: Path) -> Samples:
    decoder = AudioDecoder()
    try:
        return np.concatenate([*decoder.feed(path.read_bytes()), *decoder.finish()])
    finally:
        decoder.close()


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def stream(session: Session, samples: Samples, chunk_s: float = 0.1) -> list[Snapshot]:
    """Feed as a live client would, with every step taken as soon as it is due."""
    snapshots = []
    step = int(chunk_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), step):
        session.feed(samples[start : start + step])
        while session.pending:
            snapshot = session.advance()
            snapshots += [snapshot] if snapshot else []
    session.finish()
    while not session.done:
        snapshot = session.advance()
        snapshots += [snapshot] if snapshot else []
    return snapshots


def committed(snapshot: Snapshot) -> str:
    return " ".join(line.text for line in snapshot.lines if line.text)


def text_of(snapshots: list[Snapshot]) -> str:
    return committed(snapshots[-1]) if snapshots else ""


@pytest.mark.parametrize("chunk_s", [0.02, 0.5, 3.0])
def test_right_words_however_the_audio_is_cut(engine: Engine, librivox: tuple[Spoken, ...], chunk_s: float) -> None:
    spoken = librivox[0]
    heard = text_of(stream(engine.open_session(SessionOptions("en")), samples_of(spoken.path), chunk_s))
    assert word_errors(spoken.transcript, heard).errors <= 3, heard


def test_joined_utterances_are_never_taken_back(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    audio = np.concatenate([part for spoken in librivox for part in (samples_of(spoken.path), silence(0.8))])
    snapshots = stream(engine.open_session(SessionOptions("en")), audio)
    texts = [committed(snapshot) for snapshot in snapshots]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert len(set(texts)) > 8, "the text should grow in many steps"
    found = word_errors(" ".join(spoken.transcript for spoken in librivox), texts[-1])
    assert found.words == 71
    assert found.errors <= 10, texts[-1]
    assert snapshots[-1].tentative == ""
    assert snapshots[-1].lag_s == 0.0


def test_words_have_times_that_grow_and_lie_in_the_audio(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    audio = np.concatenate([silence(2.0), samples_of(librivox[0].path)])
    last = stream(engine.open_session(SessionOptions("en")), audio)[-1]
    words = [word for line in last.lines for word in line.words]
    assert normalise("".join(word.text for word in words)) == normalise(committed(last))
    assert 1.5 < words[0].start_s < 3.2
    assert all(first.end_s <= second.start_s or first.start_s <= second.start_s for first, second in pairwise(words))
    assert all(word.start_s <= word.end_s <= len(audio) / SAMPLE_RATE_HZ for word in words)
    assert all(0.0 < word.probability <= 1.0 for word in words)


@pytest.mark.parametrize("level", [0.0, 0.003, 0.05])
def test_silence_and_noise_commit_no_words(engine: Engine, level: float) -> None:
    noise = np.random.default_rng(7).normal(0, level, 40 * SAMPLE_RATE_HZ).astype(np.float32)
    snapshots = stream(engine.open_session(SessionOptions()), noise, 0.5)
    assert all(not snapshot.lines and not snapshot.tentative for snapshot in snapshots)


def test_a_long_pause_is_a_silence_line_between_two_lines(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    audio = np.concatenate([samples_of(librivox[1].path), silence(7.0), samples_of(librivox[4].path)])
    last = stream(engine.open_session(SessionOptions("en")), audio)[-1]
    assert [line.speaker == SILENCE for line in last.lines] == [False, True, False]
    assert word_errors(librivox[1].transcript, last.lines[0].text).rate < 0.4
    assert word_errors(librivox[4].transcript, last.lines[2].text).rate < 0.4


def test_speech_without_a_pause_is_cut_and_nothing_is_lost(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    """Forty seconds that voice activity sees as one utterance: pauses filled with the speaker's own room."""
    parts = [samples_of(spoken.path) for spoken in librivox]
    joined = np.concatenate([part[int(0.25 * SAMPLE_RATE_HZ) : -int(0.25 * SAMPLE_RATE_HZ)] for part in parts])
    audio = np.concatenate([joined, joined])
    snapshots = stream(engine.open_session(SessionOptions("en")), audio)
    texts = [committed(snapshot) for snapshot in snapshots]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    once = " ".join(spoken.transcript for spoken in librivox)
    assert word_errors(f"{once} {once}", texts[-1]).rate < 0.2, texts[-1]


def test_a_cut_right_before_a_pause_leaves_nothing_to_hear(
    engine: Engine, librivox: tuple[Spoken, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at every step, four times a second, the last window begins after the utterance's end."""
    monkeypatch.setattr(session_module, "STEP_SAMPLES", SAMPLE_RATE_HZ // 4)
    monkeypatch.setattr(session_module, "FORCED_CUT_SAMPLES", 0)
    session = engine.open_session(SessionOptions("en"))
    stream(session, np.concatenate([samples_of(librivox[1].path), silence(1.0)]))
    assert session.done


def test_a_device_that_is_not_there_is_refused(base_pair: Pair, vad_file: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ApplianceError, match="no CUDA device") as refused:
        Engine.load(EngineConfig(pair=base_pair, vad_file=vad_file, device="cuda"))
    assert "--device cpu" in refused.value.hint


def test_two_sessions_at_once_get_their_own_text(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    heard: dict[str, str] = {}

    def one(spoken: Spoken) -> None:
        heard[spoken.name] = text_of(stream(engine.open_session(SessionOptions("en")), samples_of(spoken.path)))

    threads = [threading.Thread(target=one, args=(spoken,)) for spoken in (librivox[0], librivox[3])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for spoken in (librivox[0], librivox[3]):
        assert word_errors(spoken.transcript, heard[spoken.name]).errors <= 3


def test_the_language_is_detected(engine: Engine, librivox: tuple[Spoken, ...]) -> None:
    last = stream(engine.open_session(SessionOptions("auto")), samples_of(librivox[0].path))[-1]
    assert {line.language for line in last.lines} == {"en"}


def test_an_unknown_language_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(ApplianceError, match="klingon") as refused:
        engine.open_session(SessionOptions("klingon"))
    assert "de" in refused.value.hint
    assert refused.value.code == "unsupported_language"


def test_an_empty_stream_ends_empty(engine: Engine) -> None:
    session = engine.open_session(SessionOptions())
    assert not session.pending
    session.finish()
    assert session.pending
    snapshot = session.advance()
    assert session.done
    assert snapshot is None or not snapshot.lines


def test_audio_after_the_end_is_ignored(engine: Engine) -> None:
    session = engine.open_session(SessionOptions())
    session.finish()
    session.feed(silence(1.0))
    assert session.backlog_s == 0.0


def test_a_damaged_voice_activity_model_is_refused(base_pair: Pair, tmp_path: Path) -> None:
    broken = tmp_path / "silero_vad.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ApplianceError, match="not a usable silero-vad model"):
        Engine.load(EngineConfig(pair=base_pair, vad_file=broken))
