from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.contents import entries, parse_contents
from appliance.errors import ApplianceError
from tests.delivery.bundles import make


def test_what_is_written_is_read_again(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    contents = make(tmp_path, key)
    assert parse_contents(contents.text()) == contents


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wlk-bundle 1", "wlk-bundle 2", "line 1: expected 'wlk-bundle 1'"),
        ("version 0.2.0\n", "", "does not tell: version"),
        ("version 0.2.0\n", "version 0.2.0\nversion 0.3.0\n", "line 3: unknown, repeated"),
        ("architecture amd64", "architecture vax", "malformed: 'architecture vax'"),
        ("archive image.tar.zst", "archive other.tar", "does not list its archive other.tar"),
        (" verify.sh", " ../verify.sh", "malformed"),
        (" verify.sh", " /verify.sh", "malformed"),
        (" verify.sh", " a//verify.sh", "malformed"),
        (" verify.sh", " image.tar.zst", "a file is listed twice"),
        ("target cpu", "target cpu\nowner me", "line 4: unknown"),
    ],
)
def test_a_list_is_read_to_the_letter(tmp_path: Path, key: Ed25519PrivateKey, old: str, new: str, said: str) -> None:
    text = make(tmp_path, key, architecture="amd64").text()
    assert old in text
    with pytest.raises(ApplianceError) as raised:
        parse_contents(text.replace(old, new, 1))
    assert said in raised.value.message


def test_a_list_cut_short_is_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    with pytest.raises(ApplianceError, match="last line is not complete"):
        parse_contents(make(tmp_path, key).text()[:-1])


def test_a_name_that_no_list_can_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two words").write_bytes(b"")
    with pytest.raises(ApplianceError, match="two words"):
        entries(tmp_path)
