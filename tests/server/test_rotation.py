import asyncio
import logging
from pathlib import Path

import pytest
from cryptography import x509

from appliance.server.authority import LEAF_DAYS
from appliance.server.rotation import Rotation
from appliance.server.settings import Settings
from appliance.server.tls import Kept, prepare
from tests.server.certificates import days_ago, files_in, put_foreign, put_ours, serving, shake_hands


def test_new_clients_get_what_was_renewed_on_disk(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    kept = prepare(settings)
    assert kept is not None
    files, rotation = kept.files, Rotation(settings, kept)
    context = serving(files)
    first = shake_hands(context, "localhost", files.authority)
    assert not asyncio.run(rotation.apply(context))
    assert shake_hands(context, "localhost", files.authority) == first
    put_ours(tmp_path)  # as the script would
    assert asyncio.run(rotation.apply(context)) and not asyncio.run(rotation.apply(context))
    assert shake_hands(context, "box.example", files.authority) != first


def test_what_is_due_is_renewed_while_the_server_runs(tmp_path: Path) -> None:
    put_ours(tmp_path)
    settings = Settings(state_dir=tmp_path)
    kept = prepare(settings)
    assert kept is not None
    files, rotation = kept.files, Rotation(settings, kept)
    context = serving(files)
    put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS - 1))
    assert asyncio.run(rotation.apply(context))
    left = shake_hands(context, "localhost", files.authority).not_valid_after_utc - days_ago(0)
    assert left.days > LEAF_DAYS - 3


def test_a_half_copied_certificate_of_the_site_is_warned_of_once_and_not_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = put_foreign(tmp_path)
    settings = Settings(tls_cert=files.certificate, tls_key=files.key)
    context, rotation = serving(files), Rotation(settings, Kept(files))
    new = put_foreign(tmp_path / "new", days=20)
    files.certificate.write_bytes(new.certificate.read_bytes())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert not asyncio.run(rotation.apply(context))
    assert len(caplog.messages) == 1 and "the key is not the certificate's" in caplog.messages[0]
    files.key.write_bytes(new.key.read_bytes())
    assert asyncio.run(rotation.apply(context))


def test_an_added_name_comes_in_without_a_restart(tmp_path: Path) -> None:
    first = prepare(Settings(state_dir=tmp_path))
    assert first is not None
    context = serving(first.files)
    asyncio.run(Rotation(Settings(state_dir=tmp_path, tls_names=("10.9.8.7",)), first).apply(context))
    shown = shake_hands(context, "10.9.8.7", files_in(tmp_path).authority)
    assert isinstance(shown, x509.Certificate)
