import logging
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.server.flags import load_settings
from appliance.server.settings import Settings
from appliance.server.tokens import Token, read_tokens

ANNA, BERT = "a" * 8, "tock-of-bert!é:="


@pytest.fixture(autouse=True)
def _no_tokens_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WLK_TOKEN", "WLK_TOKENS", "WLK_TOKEN_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def listed(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "wlk-tokens"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def test_without_any_there_are_none() -> None:
    assert read_tokens(Settings()) == ()


def test_lines_of_a_file_beside_the_single_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = listed(tmp_path, f"# of the site\n\n anna: {ANNA}\r\nbert  {BERT}\nanna:new-of-anna\n")
    monkeypatch.setenv("WLK_TOKENS", "carl: of-the-variable\ndora: of-dora-1")
    found = read_tokens(load_settings(["--token", "s", "--token-file", str(file)]))
    assert [token.name for token in found] == ["token", "carl", "dora", "anna", "bert", "anna"]
    assert [token.secret for token in found[3:]] == [ANNA, BERT, "new-of-anna"]
    assert ANNA not in repr(found)


def test_systemds_credential_is_found_and_a_file_of_ones_own_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_tokens(load_settings([])) == ()
    listed(tmp_path, "anna: of-the-credential\n")
    assert read_tokens(load_settings([])) == (Token("anna", "of-the-credential"),)
    (tmp_path / "own").mkdir()
    own = listed(tmp_path / "own", "bert: of-the-file\n")
    assert read_tokens(load_settings(["--token-file", str(own)])) == (Token("bert", "of-the-file"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no token"),
        ("# anna: hushhush1\n", "holds no token"),
        ("anna: hushhush1\nhushhush2\n", "line 2, is no token"),
        ("anna: hush hushhush\n", "line 1, is no token"),
        ("an/na: hushhush1\n", "line 1, is no token"),
        ("anna: hushhush\x07\n", "line 1, is no token"),
        ("anna: hush123\n", "line 1: the token of anna has fewer than 8 characters"),
        ("anna: hushhush1\nbert: hushhush1\n", "line 2: the token of bert stands there twice"),
        ("anna: hushhush1\n" * 9000, "is no list of tokens: over 65536 bytes"),
    ],
)
def test_mistakes_are_told_by_line_and_never_with_a_token(text: str, said: str, tmp_path: Path) -> None:
    file = listed(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_tokens(load_settings(["--token-file", str(file)]))
    assert str(file) in caught.value.message and said in caught.value.message and caught.value.hint
    assert "hush" not in str(caught.value)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--token-file \(WLK_TOKEN_FILE\) /no/where: No such file"):
        read_tokens(load_settings(["--token-file", "/no/where"]))
    (tmp_path / "b").write_bytes(b"anna: \xff\xfe\xff\xff\xff\xff\xff\xff")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_tokens(load_settings(["--token-file", str(tmp_path / "b")]))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_others_may_read_is_remarked(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = listed(tmp_path, f"anna: {ANNA}", mode)
    with caplog.at_level(logging.WARNING):
        read_tokens(load_settings(["--token-file", str(file)]))
    assert (f"chmod o= {file}" in caplog.text) is warned and ANNA not in caplog.text
