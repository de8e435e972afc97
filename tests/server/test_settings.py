import re
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.server.flags import load_settings, unknown_variables
from appliance.server.settings import OLDER_NAMES, Settings, flag, variable
from appliance.speakers.sortformer_config import SortformerConfig

DOCS = Path(__file__).parent.parent.parent / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*OLDER_NAMES, "WLK_ENV_FILE", "STATE_DIRECTORY", *map(variable, Settings.model_fields)]:
        monkeypatch.delenv(name, raising=False)


def test_flag_beats_variable_beats_older_name_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "wlk.env"
    file.write_text("WLK_PORT=1\nWLK_MAX_SESSIONS=3\nMODEL=tiny\n# a remark\n")
    argv = ["--env-file", str(file)]
    assert (load_settings(argv).port, load_settings(argv).max_sessions, load_settings(argv).model) == (1, 3, "tiny")
    monkeypatch.setenv("PORT", "2")
    assert load_settings(argv).port == 2
    monkeypatch.setenv("WLK_PORT", "3")
    assert load_settings(argv).port == 3
    assert load_settings([*argv, "--port", "4"]).port == 4
    monkeypatch.setenv("WLK_ENV_FILE", str(file))
    assert load_settings([]).max_sessions == 3


def test_posix_lang_is_no_speech_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert load_settings([]).language == "auto"
    monkeypatch.setenv("WLK_LANGUAGE", "de")
    assert load_settings([]).language == "de"


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TOKEN", "")
    monkeypatch.setenv("WLK_PORT", "")
    assert load_settings([]).token is None and load_settings([]).port == 8000


def test_frozen_and_secret() -> None:
    settings = load_settings(["--token", "hush"])
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 5
    assert "hush" not in repr(settings)


def test_lists_are_given_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TLS_NAMES", "a.example, 10.0.0.2,")
    assert load_settings([]).tls_names == ("a.example", "10.0.0.2")
    assert load_settings(["--languages", "en,de"]).languages == ("en", "de")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--port", "eighty"], r"--port \(WLK_PORT\) is 'eighty': .*integer"),
        (["--port", "70000"], r"--port \(WLK_PORT\) is '70000': .*65535"),
        (["--device", "gpu"], r"--device \(WLK_DEVICE\) is 'gpu': .*'cpu' or 'cuda'"),
        (["--commit", "soon"], r"--commit \(WLK_COMMIT\) is 'soon': .*'fast', 'balanced' or 'accurate'"),
        (["--policy", "guess"], r"--policy \(WLK_POLICY\) is 'guess': .*'alignatt' or 'localagreement'"),
        (["--window", "wide"], r"--window \(WLK_WINDOW\) is 'wide': .*'short' or 'full'"),
        (["--task", "sing"], r"--task \(WLK_TASK\) is 'sing': .*'transcribe' or 'translate'"),
        (["--initial-prompt", "x" * 1001], r"--initial-prompt \(WLK_INITIAL_PROMPT\) is .*at most 1000 characters"),
        (["--max-sessions", "-1"], r"--max-sessions .* greater than or equal to 0"),
        (["--max-backlog-s", "-1"], r"--max-backlog-s .* greater than or equal to 1"),
        (["--no-such-flag"], r"unrecognized arguments: --no-such-flag"),
        (["--tls-cert", "a.pem"], r"--tls-cert \(WLK_TLS_CERT\) needs --tls-key"),
        (["--diarization-backend", "magic"], r"--diarization-backend .* is 'magic'"),
        (["--enroll", "Anna"], r"--enroll \(WLK_ENROLL\) is 'Anna': give it as NAME=RECORDING"),
        (["--enroll", "=anna.wav"], r"--enroll .* is '=anna.wav'"),
        (["--env-file", "/nowhere.env"], r"--env-file: can't read /nowhere.env"),
    ],
)
def test_mistakes_are_named(argv: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        load_settings(argv)
    assert caught.value.hint


def test_sortformer_is_stepped_as_nvidia_does_unless_told_otherwise() -> None:
    assert load_settings([]).sortformer() == SortformerConfig()
    given = {"chunk": 12, "left": 2, "right": 3, "fifo": 100, "cache": 64, "update": 50}
    argv = [part for name, value in given.items() for part in (f"--sortformer-{name}", str(value))]
    assert load_settings(argv).sortformer() == SortformerConfig(**given)
    with pytest.raises(UsageError, match="updated by 200 frames"):
        load_settings(["--sortformer-update", "200"]).sortformer()


def test_older_diar_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAR", "0")
    assert load_settings([]).diarization is False
    monkeypatch.setenv("DIAR", "1")
    assert load_settings([]).diarization is True


def test_voices_are_given_one_by_one_or_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"Anna": "/voices/a.wav", "Bert B.": "b=1.wav"}
    assert load_settings(["--enroll", "Anna=/voices/a.wav", "--enroll", "Bert B.=b=1.wav"]).voices == wanted
    monkeypatch.setenv("WLK_ENROLL", "Anna=/voices/a.wav, Bert B. = b=1.wav")
    assert load_settings([]).voices == wanted


def test_bad_token_value_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(["--tls-cert", "a", "--token", "hush"])
    assert "hush" not in str(caught.value)


def test_help_lists_every_setting_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_settings(["--help"])
    text = re.sub(r"\s+", "", capsys.readouterr().out)
    for name in Settings.model_fields:
        assert flag(name) in text and variable(name) in text


def test_every_setting_is_documented_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (.*) \|$", DOCS.read_text(), re.MULTILINE))
    assert list(rows) == [flag(name)[2:] for name in Settings.model_fields]
    for name, row in Settings.model_fields.items():
        text = rows[flag(name)[2:]]
        assert f"`{variable(name)}`" in text
        assert row.description is not None and row.description in text
        if isinstance(row.default, str | int | float) and not isinstance(row.default, bool) and row.default != "":
            assert f"`{row.default}`" in text


def test_unknown_variables_are_remarked() -> None:
    assert unknown_variables({"WLK_PROT": "1", "WLK_STORE": "x", "WLK_PORT": "2"}) == [
        "unknown variable WLK_PROT: did you mean WLK_PORT?"
    ]
