"""Real speech through the real `base` pair and the engine's own threads, without a server."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.speech.audio.file import decode_file
from appliance.speech.config import EngineConfig
from appliance.speech.engine import Engine
from appliance.speech.profile import BALANCED, PROFILES, CommitMode, Profile, agreeing, padded, translating
from appliance.speech.session import StreamOptions
from appliance.speech.types import SAMPLE_RATE_HZ, SILENCE, Samples, Snapshot
from appliance.speech.vad import WINDOW_SAMPLES
from appliance.words import normalise, word_errors
from tests.conftest import Spoken
from tests.speech.doubles import silence

pytestmark = pytest.mark.model

BACKLOG_S = 0.5
"""Fed as fast as it is heard, so passes are about as frequent as in real time."""


def run(engine: Engine, samples: Samples, options: StreamOptions, chunk_s: float = 0.1) -> list[Snapshot]:
    """Stream samples and give all states, the last one included."""
    snapshots: list[Snapshot] = []
    stream = engine.open_stream(options, snapshots.append)
    step = round(chunk_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), step):
        stream.feed(samples[start : start + step])
        while stream.backlog_s > BACKLOG_S + chunk_s:
            threading.Event().wait(0.005)
    stream.finish()
    assert stream.wait(120) is snapshots[-1]
    return snapshots


def english(profile: Profile = BALANCED) -> StreamOptions:
    return StreamOptions(language="en", profile=profile)


def committed(snapshot: Snapshot) -> str:
    return " ".join(line.text for line in snapshot.lines if line.text)


def check_growth(snapshots: list[Snapshot]) -> list[str]:
    texts = [committed(snapshot) for snapshot in snapshots]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts)), texts
    return texts


def joined(speech: list[Samples], gap_s: float = 0.8) -> Samples:
    return np.concatenate([part for samples in speech for part in (samples, silence(gap_s))])


@pytest.mark.parametrize("chunk_s", [0.02, 0.5, 3.0])
def test_right_words_however_the_audio_is_cut(
    engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples], chunk_s: float
) -> None:
    heard = committed(run(engine, speech[0], english(), chunk_s)[-1])
    assert word_errors(librivox[0].transcript, heard).errors <= 3, heard


@pytest.mark.parametrize("mode", PROFILES)
def test_committed_text_only_grows_in_each_mode(
    engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples], mode: CommitMode
) -> None:
    snapshots = run(engine, joined(speech), english(PROFILES[mode]))
    texts = check_growth(snapshots)
    assert len(set(texts)) > (4 if mode == "accurate" else 8), "the text should grow in many steps"
    found = word_errors(" ".join(spoken.transcript for spoken in librivox), texts[-1])
    assert found.words == 71
    assert found.errors <= 14, texts[-1]
    assert any(snapshot.tentative for snapshot in snapshots)
    assert snapshots[-1].tentative == "" and snapshots[-1].lag_s == 0.0


def test_full_windows_hear_the_same(engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples]) -> None:
    heard = check_growth(run(engine, speech[0], english(padded(BALANCED))))[-1]
    assert word_errors(librivox[0].transcript, heard).errors <= 3, heard


def test_words_have_times_that_grow_and_lie_in_the_audio(engine: Engine, speech: list[Samples]) -> None:
    audio = np.concatenate([silence(2.0), speech[0]])
    last = run(engine, audio, english())[-1]
    words = [word for line in last.lines for word in line.words]
    assert normalise("".join(word.text for word in words)) == normalise(committed(last))
    assert 1.5 < words[0].start_s < 3.2
    assert all(one.end_s <= two.start_s for one, two in pairwise(words))
    end_s = (len(audio) + WINDOW_SAMPLES) / SAMPLE_RATE_HZ  # the last window of voice activity is filled up
    assert all(word.start_s <= word.end_s <= end_s for word in words)
    assert all(0.0 < word.probability <= 1.0 for word in words)


@pytest.mark.parametrize("level", [0.0, 0.003, 0.05])
def test_silence_and_noise_commit_no_words(engine: Engine, level: float) -> None:
    noise = np.random.default_rng(7).normal(0, level, 40 * SAMPLE_RATE_HZ).astype(np.float32)
    snapshots = run(engine, noise, StreamOptions(), 0.5)
    assert all(not snapshot.lines and not snapshot.tentative for snapshot in snapshots)


def test_a_long_pause_is_a_silence_line_between_two_lines(
    engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples]
) -> None:
    audio = np.concatenate([speech[1], silence(7.0), speech[4]])
    last = run(engine, audio, english())[-1]
    assert [line.speaker == SILENCE for line in last.lines] == [False, True, False]
    assert word_errors(librivox[1].transcript, last.lines[0].text).rate < 0.4
    assert word_errors(librivox[4].transcript, last.lines[2].text).rate < 0.4


@pytest.mark.parametrize("profile", [BALANCED, PROFILES["accurate"]], ids=["balanced", "accurate"])
def test_speech_without_a_pause_is_cut_and_nothing_is_lost(
    engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples], profile: Profile
) -> None:
    """Forty seconds that voice activity sees as few utterances: pauses cut to what the speaker's breath takes."""
    trimmed = [samples[int(0.25 * SAMPLE_RATE_HZ) : -int(0.25 * SAMPLE_RATE_HZ)] for samples in speech]
    texts = check_growth(run(engine, np.concatenate([*trimmed, *trimmed]), english(profile)))
    once = " ".join(spoken.transcript for spoken in librivox)
    assert word_errors(f"{once} {once}", texts[-1]).rate < 0.25, texts[-1]


def test_two_at_once_get_their_own_text(engine: Engine, librivox: tuple[Spoken, ...], speech: list[Samples]) -> None:
    heard: dict[int, str] = {}

    def one(index: int) -> None:
        heard[index] = committed(run(engine, speech[index], english())[-1])

    threads = [threading.Thread(target=one, args=(index,)) for index in (0, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in (0, 3):
        assert word_errors(librivox[index].transcript, heard[index]).errors <= 3


def test_the_language_is_detected(engine: Engine, speech: list[Samples]) -> None:
    last = run(engine, speech[0], StreamOptions("auto"))[-1]
    assert {line.language for line in last.lines} == {"en"}


def test_translation_is_english_and_committed_at_pauses(engine: Engine, french: Spoken) -> None:
    audio = np.concatenate([*decode_file(french.path), silence(1.0)])
    plain = StreamOptions(profile=BALANCED)
    as_spoken = run(engine, audio, plain)[-1]
    assert word_errors(french.transcript, committed(as_spoken)).rate < 0.5
    translated = run(engine, audio, replace(plain, task="translate", profile=translating(BALANCED)))[-1]
    assert {line.language for line in translated.lines} == {"fr"}
    words = set(normalise(committed(translated)))
    assert {"this", "old"} <= words
    assert not {"portez", "ce", "vieux", "juge", "qui", "fume"} & words


def test_a_prompt_sways_the_spelling_of_names(engine: Engine, speech: list[Samples]) -> None:
    profile = PROFILES["accurate"]
    plain = committed(run(engine, speech[0], english(profile))[-1])
    prompt = "Mr. Jon Dashwoode and Mrs. Dashwoode."
    prompted = committed(run(engine, speech[0], replace(english(profile), prompt=prompt))[-1])
    assert "Dashwood " in plain and "Dashwoode" not in plain
    assert "Dashwoode" in prompted


def test_an_unknown_language_is_refused_by_name(engine: Engine) -> None:
    for options in (StreamOptions("klingon"), StreamOptions(languages=("en", "klingon"))):
        with pytest.raises(ApplianceError, match="klingon") as refused:
            engine.open_stream(options, lambda snapshot: None)
        assert "de" in refused.value.hint
        assert refused.value.code == "unsupported_language"


def test_auto_is_no_language_to_choose_among(engine: Engine) -> None:
    with pytest.raises(ApplianceError, match="auto"):
        engine.open_stream(StreamOptions(languages=("auto",)), lambda snapshot: None)


def test_an_empty_stream_ends_empty(engine: Engine) -> None:
    stream = engine.open_stream(StreamOptions(), lambda snapshot: None)
    stream.finish()
    assert stream.wait(10).lines == ()


def test_no_library_has_threads_of_its_own_for_products(engine: Engine) -> None:
    """Also not beside the process that makes passes; numpy's BLAS keeps one for each core else."""
    assert engine.share
    threads = {
        library["filepath"]: library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }
    assert threads
    assert set(threads.values()) == {1}


def test_what_a_stream_takes_is_measured(engine: Engine) -> None:
    assert 0 < engine.share < engine.workers


def test_a_device_that_is_not_there_is_refused(base_pair: Pair, vad_file: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ApplianceError, match="built without CUDA") as refused:
        Engine.load(EngineConfig(pair=base_pair, vad_file=vad_file, device="cuda"))
    assert "--device cpu" in refused.value.hint


def test_a_damaged_voice_activity_model_is_refused(base_pair: Pair, tmp_path: Path) -> None:
    broken = tmp_path / "silero_vad.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ApplianceError, match="not a usable silero-vad model"):
        Engine.load(EngineConfig(pair=base_pair, vad_file=broken))


def test_agreement_without_attention(
    base_pair: Pair, vad_file: Path, librivox: tuple[Spoken, ...], speech: list[Samples]
) -> None:
    """`--policy localagreement`, from the models to the words."""
    engine = Engine.load(EngineConfig(pair=base_pair, vad_file=vad_file, policy="localagreement"))
    try:
        snapshots = run(engine, joined(speech[:3]), english(agreeing(BALANCED)))
        last = run(engine, speech[0], StreamOptions(profile=agreeing(BALANCED)))[-1]
    finally:
        engine.close()
    texts = check_growth(snapshots)
    assert len(set(texts)) > 4
    found = word_errors(" ".join(spoken.transcript for spoken in librivox[:3]), texts[-1])
    assert found.rate < 0.25, texts[-1]
    words = [word for line in snapshots[-1].lines for word in line.words]
    assert all(one.end_s <= two.start_s for one, two in pairwise(words))
    assert {line.language for line in last.lines} == {"en"}
