"""Translation over the socket, with the real `base` and a tiny NLLB; and a server that has none."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.client import ClientOptions, transcribe
from appliance.errors import ApplianceError
from appliance.recording.transcription import Transcription
from appliance.speech.audio.file import decode_file
from appliance.translation.sentences import joined, sentences_of
from appliance.translation.translator import Job, Translator
from tests.conftest import Spoken
from tests.server.running import (
    Message,
    Running,
    field_client,
    opened,
    pcm,
    pieces,
    receive,
    refused_start,
    updates,
)
from tests.server.test_process import get

pytestmark = pytest.mark.model


def heard(server: Running, spoken: Spoken, query: str, pace_s: float = 0.0) -> list[Message]:
    with opened(server, query) as socket:
        messages = field_client(socket, pieces(pcm(spoken.path) + bytes(64_000)), pace_s=pace_s)
    assert messages[-1] == {"type": "ready_to_stop"}
    return messages


def expected(server: Running, spoken: Spoken, nllb: Translator, target: str) -> list[str]:
    """What the model makes of each line's sentences, asked directly."""
    options = ClientOptions(url=server.asr, target_language="", words=True)
    said = Transcription()
    said.update(transcribe(decode_file(spoken.path), options).snapshot())
    return [
        joined(nllb.translate([Job(sentence.text, "en", target) for sentence in sentences_of(line)]))
        for line in said.lines
    ]


def test_each_client_has_its_own_language(translating: Running, librivox: tuple[Spoken, ...], nllb: Translator) -> None:
    spoken = librivox[0]
    for query, target in (("?target_language=de", "de"), ("?target_language=deu_Latn", "de"), ("", "zh")):
        messages = heard(translating, spoken, query)
        last = updates(messages)[-1]
        assert [line["translation"] for line in last["lines"]] == expected(translating, spoken, nllb, target)
        assert last["buffer_translation"] == ""
    assert messages[0]["target_language"] == "zh"
    messages = heard(translating, spoken, "?target_language=")
    assert "target_language" not in messages[0]
    assert not any(
        "translation" in line or message["buffer_translation"]
        for message in updates(messages)
        for line in message["lines"]
    )


def test_what_is_tentative_is_translated_while_somebody_speaks(
    translating: Running, librivox: tuple[Spoken, ...]
) -> None:
    messages = updates(heard(translating, librivox[2], "?target_language=de", pace_s=0.1))
    assert any(message["buffer_translation"] for message in messages)
    assert all(line["translation"] for line in messages[-1]["lines"])


def test_differences_add_up_to_the_same(translating: Running, librivox: tuple[Spoken, ...], nllb: Translator) -> None:
    options = ClientOptions(url=translating.asr, target_language="de", mode="diff", words=True)
    transcript = transcribe(decode_file(librivox[1].path), options)
    assert [line["translation"] for line in transcript.lines] == expected(translating, librivox[1], nllb, "de")
    assert [line.translation for line in transcript.snapshot().lines] == [
        line["translation"] for line in transcript.lines
    ]


def test_speech_in_the_target_language_has_no_translation(translating: Running, librivox: tuple[Spoken, ...]) -> None:
    last = updates(heard(translating, librivox[0], "?target_language=en"))[-1]
    assert last["lines"] and not any("translation" in line for line in last["lines"])


def test_whispers_translation_goes_on_into_another_language(translating: Running, french: Spoken) -> None:
    last = updates(heard(translating, french, "?language=fr&task=translate&target_language=de"))[-1]
    assert last["lines"][0]["detected_language"] == "fr" and last["lines"][0]["translation"]
    last = updates(heard(translating, french, "?language=fr&target_language=de"))[-1]
    assert not any("translation" in line for line in last["lines"]), "this model knows no French"


def test_a_language_that_the_model_lacks_is_refused(translating: Running) -> None:
    with opened(translating, "?target_language=xx") as socket:
        error = receive(socket)
        assert (error["code"], error["hint"]) == ("unsupported_language", "one of: de, en, zh")
        assert "'xx'" in error["message"]


def test_readyz_tells_what_there_is(translating: Running, server: Running) -> None:
    assert get(translating, "/readyz")[1]["translation"] == {"targets": ["de", "en", "zh"], "default": "zh"}
    assert "translation" not in get(server, "/readyz")[1]


@pytest.mark.parametrize("target", ["de", "nothing", ""])
def test_a_server_without_translation_serves_who_asks_for_one(server: Running, target: str) -> None:
    """Clients of the field name a language whatever the server can."""
    with opened(server, f"?target_language={target}") as socket:
        config = receive(socket)
        assert config["type"] == "config" and "target_language" not in config


def test_a_wrong_model_or_language_stops_the_start(flags: list[str], nllb_dir: Path, tmp_path: Path) -> None:
    usual = ["--no-tls", "--host", "127.0.0.1", "--port", "0", "--state-dir", str(tmp_path), *flags]
    status, said = refused_start([*usual, "--translation-dir", str(tmp_path)])
    assert status != 0 and "no model.bin" in said and "NLLB-200" in said
    status, said = refused_start([*usual, "--translation-dir", str(nllb_dir), "--target-language", "fr"])
    assert status != 0 and "no translation into 'fr'" in said
    status, said = refused_start([*usual, "--target-language", "fr"])
    assert status != 0 and "--target-language (WLK_TARGET_LANGUAGE) needs --translation-dir" in said


def test_without_it_nothing_of_it_is_imported() -> None:
    program = (
        "import sys\n"
        "import appliance.server.main, appliance.server.connection, appliance.commands.transcribe, appliance.client\n"
        "import appliance.speech.engine\n"
        "sys.exit(any(name.startswith('appliance.translation') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_the_client_says_that_a_server_does_not_translate(server: Running, librivox: tuple[Spoken, ...]) -> None:
    certificate = server.state_dir / "tls" / "certificate.pem"
    options = ClientOptions(url=server.asr, target_language="de", certificate=certificate)
    with pytest.raises(ApplianceError, match="does not translate"):
        transcribe(decode_file(librivox[0].path), options)


@pytest.mark.parametrize("through", ["server", "in-process"])
def test_subtitles_in_two_languages(
    through: str,
    translating: Running,
    flags: list[str],
    nllb_dir: Path,
    librivox: tuple[Spoken, ...],
    nllb: Translator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--url", translating.asr]
    if through == "in-process":
        where = ["--in-process", "--language", "en", "--translation-dir", str(nllb_dir), *flags]
    spoken = librivox[0]
    (translation,) = expected(translating, spoken, nllb, "de")
    usual = ["transcribe", str(spoken.path), "--quiet", "--target-language", "de", *where]
    assert main([*usual, "--format", "vtt"]) == 0
    below = re.findall(r"<c\.translation>(.*?)</c>", capsys.readouterr().out)
    assert html.unescape("".join("".join(below).split())) == "".join(translation.split())
    assert main([*usual, "--format", "json"]) == 0
    assert [line["translation"] for line in json.loads(capsys.readouterr().out)["lines"]] == [translation]


def test_a_language_needs_a_model_in_process(
    flags: list[str], french: Spoken, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(french.path), "--in-process", "--target-language", "de", *flags]) == 2
    assert "--translation-dir" in capsys.readouterr().err
