import pytest

from appliance.doctor.redaction import is_secret, without_addresses, without_secrets


@pytest.mark.parametrize("name", ["WLK_TOKEN", "token", "WLK_TLS_KEY", "SITE_PASSWORD", "initial_prompt", "A_SECRET"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


def test_names_of_what_is_none() -> None:
    assert not any(is_secret(name) for name in ("WLK_MODEL", "WLK_PORT", "tls_names"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("it is s3.cr*t", "it is (secret)"),
        ("GET /asr?token=abc&x=1", "GET /asr?token=(secret)&x=1"),
        ("authorization: Bearer abc.def-123", "authorization: Bearer (secret)"),
        ("proxy http://me:pw@host:3128", "proxy http://(secret)@host:3128"),
        ("nothing", "nothing"),
    ],
)
def test_secrets(text: str, wanted: str) -> None:
    assert without_secrets(text, ["s3.cr*t", ""]) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("asr: 10.0.0.5:54321: done", "asr: (address):54321: done"),
        ("asr: fd00::9:54321: went away", "asr: (address): went away"),
        ("asr: 2001:db8:0:1:2:3:4:5:80: x", "asr: (address):80: x"),
        ("fe80::1 fe80::2 10.1.2.3 10.1.2.4 ::1", "(address) (address) (address) (address) (address)"),
        ('{"message": "hall-a@10.0.0.5:54321: done"}', '{"message": "hall-a@(address):54321: done"}'),
        (
            '{"message": "fd00::9:54321: done", "session": "5f0c1d7a"}',
            '{"message": "(address): done", "session": "5f0c1d7a"}',
        ),
        ("12:34:56 std::bad_alloc c10::Error torch 2.13.0", "12:34:56 std::bad_alloc c10::Error torch 2.13.0"),
    ],
)
def test_addresses(text: str, wanted: str) -> None:
    assert without_addresses(text) == wanted
