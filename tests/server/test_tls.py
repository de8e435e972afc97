import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.server.authority import LEAF_DAYS, pem
from appliance.server.certificate import check
from appliance.server.renewal import SELF_SIGNED, subject_names
from appliance.server.settings import Settings
from appliance.server.tls import due, files_in, keep, prepare
from tests.server.certificates import (
    days_ago,
    loaded,
    put_foreign,
    put_ours,
    serving,
    shake_hands,
    stands,
)


def test_made_once_and_reused(tmp_path: Path) -> None:
    first = keep(tmp_path)
    assert "new CA and certificate (first start), browsers must trust the CA once" in first.said
    assert stat.S_IMODE(first.files.key.stat().st_mode) == 0o600
    assert due(tmp_path).why == "" and keep(tmp_path).said == ""
    assert keep(tmp_path).files == first.files


def test_every_name_is_served_under_the_ca(tmp_path: Path) -> None:
    files = keep(tmp_path, ["box.example", "192.0.2.77"]).files
    for name in subject_names(["box.example", "192.0.2.77"]):
        shake_hands(serving(files), str(name.value), files.authority)


def test_keys_and_folder_are_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keep(tmp_path)
    finally:
        os.umask(before)
    for name, mode in (("key.pem", 0o600), ("ca-key.pem", 0o600), ("certificate.pem", 0o644), ("ca.pem", 0o644)):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_a_leaf_rotates_under_the_ca_that_was_trusted(tmp_path: Path) -> None:
    put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS - 10))
    files = files_in(tmp_path)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pem(loaded(files.authority)))
    old, old_key = loaded(files.certificate), files.key.read_bytes()
    said = keep(tmp_path).said
    assert said.startswith("new certificate until ") and "(the old one expires), the CA stays" in said
    renewed = shake_hands(serving(files), "localhost", trusted)
    assert renewed.not_valid_after_utc > old.not_valid_after_utc and files.key.read_bytes() != old_key


def test_a_new_ca_is_said_to_need_trust_again_and_keeps_the_old_names(tmp_path: Path) -> None:
    keep(tmp_path, ["a.example"])
    said = keep(tmp_path, ["b.example"]).said
    assert "b.example is outside what the CA may name" in said and "instead of the old one" in said
    assert keep(tmp_path, ["a.example"]).said == keep(tmp_path, ["b.example"]).said == "", "they don't take turns"
    for name in ("a.example", "b.example"):
        shake_hands(serving(files_in(tmp_path)), name, files_in(tmp_path).authority)


def test_a_self_signed_certificate_of_before_gives_way(tmp_path: Path) -> None:
    put_foreign(tmp_path, organisation=SELF_SIGNED)
    said = keep(tmp_path).said
    assert "there is no CA yet" in said and "must trust the CA once" in said
    stands(files_in(tmp_path))


def test_certificate_of_a_site_in_our_place_is_kept(tmp_path: Path) -> None:
    theirs = put_foreign(tmp_path, days=3).certificate.read_bytes()
    kept = keep(tmp_path, ["new.example"])
    assert kept.said == "" and kept.files.authority is None and kept.files.certificate.read_bytes() == theirs
    assert not (tmp_path / "tls" / "ca.pem").exists()


def test_certificate_of_a_site_takes_precedence(tmp_path: Path) -> None:
    theirs = put_foreign(tmp_path / "site")
    state = tmp_path / "state"
    assert prepare(Settings(tls_cert=theirs.certificate, tls_key=theirs.key, state_dir=state)) is not None
    assert prepare(Settings(tls=False, state_dir=state)) is None
    assert not state.exists()


def test_what_was_done_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert prepare(Settings(state_dir=tmp_path)) is not None
    assert len(caplog.messages) == 1 and "first start" in caplog.messages[0]


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApplianceError, match="can't keep a certificate"):
        keep(tmp_path / "file" / "state")


def test_starting_at_once_makes_one_ca(tmp_path: Path) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(keep(tmp_path).said)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 6 and len([line for line in said if line]) == 1
    stands(files_in(tmp_path))


def killed_after(operations: int, work: Callable[[], object]) -> bool:
    """Do it in a child that dies, as by kill -9, before its next operation on a file after so many."""
    child = os.fork()
    if child == 0:
        left = operations

        def count(event: str, args: tuple[object, ...]) -> None:
            nonlocal left
            if event == "open" or (event.startswith(("os.", "shutil.", "fcntl.")) and event != "os.kill"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("before", ["nothing", "self-signed", "ours"])
def test_killed_at_any_moment_the_pair_still_fits(tmp_path: Path, before: str) -> None:
    points = 0
    while True:
        state = tmp_path / str(points)
        if before == "self-signed":
            put_foreign(state, organisation=SELF_SIGNED)
        elif before == "ours":
            put_ours(state)
        killed = killed_after(points, lambda state=state: keep(state, ["new.example"]))  # type: ignore[misc]
        files = files_in(state)
        if before != "nothing" or files.certificate.exists():
            check(files)
        if files.authority and files.authority.exists():
            stands(files)
        keep(state, ["new.example"])
        shake_hands(serving(files), "new.example", files.authority)
        if not killed:
            break
        points += 1
    assert points > 20
