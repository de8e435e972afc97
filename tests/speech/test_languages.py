"""A meeting in several languages, joined from real recordings: with `auto` each utterance comes out in its own."""

import numpy as np
import pytest

from appliance.manifest import Manifest
from appliance.speech.audio.file import decode_file
from appliance.speech.engine import Engine
from appliance.speech.profile import PROFILES, CommitMode
from appliance.speech.session import StreamOptions
from appliance.speech.types import SILENCE
from appliance.store import Store
from tests.conftest import fetched
from tests.speech.test_live import check_growth, joined, run

pytestmark = pytest.mark.model

MEETING = (
    "zh-pangrama",
    "en-counting",
    "zh-pangrama",
    "es-pangrama",
    "en-quick-brown-fox",
    "pt-pangrama",
    "it-conteggio",
)


@pytest.mark.parametrize("mode", ["fast", "balanced", "accurate"])
@pytest.mark.parametrize("allowed", [(), ("zh", "en", "es", "pt", "it")], ids=["all languages", "those spoken"])
def test_each_utterance_comes_out_in_its_own_language(
    engine: Engine, manifest: Manifest, store: Store, mode: CommitMode, allowed: tuple[str, ...]
) -> None:
    items = [manifest.recording(name) for name in MEETING]
    audio = joined([np.concatenate(list(decode_file(fetched(item, store)))) for item in items], gap_s=1.0)
    snapshots = run(engine, audio, StreamOptions(languages=allowed, profile=PROFILES[mode]))
    check_growth(snapshots)
    lines = [line for line in snapshots[-1].lines if line.speaker != SILENCE]
    spoken = [line.language for line in lines]
    assert spoken == [item.language for item in items], [(line.language, line.text) for line in lines]
    for line in lines:
        assert line.language is not None
        has_han = any("\u4e00" <= character <= "\u9fff" for character in line.text)
        assert has_han == (line.language == "zh"), line.text
