import errno
import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.store import MismatchError, Store

CONTENT = b"some speech"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def put(store: Store, content: bytes = CONTENT, digest: str = DIGEST) -> Path:
    partial = store.partial("x.partial")
    partial.write_bytes(content)
    return store.admit(partial, digest, len(CONTENT))


def test_a_checked_file_enters_by_its_digest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.blob(DIGEST) is None
    path = put(store)
    assert path == store.blob(DIGEST) == store.verified(DIGEST, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"), [(b"some speecH", "got SHA-256"), (b"some", "got 4 bytes, the manifest says 11")]
)
def test_another_file_is_deleted_and_good_ones_stay(tmp_path: Path, content: bytes, said: str) -> None:
    store = Store(tmp_path)
    good = put(store)
    with pytest.raises(MismatchError, match=said):
        put(store, content)
    assert list((tmp_path / "partial").iterdir()) == []
    assert good.read_bytes() == CONTENT


def test_a_damaged_file_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    put(store).write_bytes(b"some speecH")
    assert store.verified(DIGEST, len(CONTENT)) is None
    assert "is damaged" in caplog.text
    put(store)
    assert store.verified(DIGEST, len(CONTENT)) is not None


def test_the_disk_is_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"x needs 1000000000000.0 MB more in .*, .* MB are free") as caught:
        Store(tmp_path).require_space(10**18, "x")
    assert caught.value.code == "store_full"
    assert "--store" in caught.value.hint


def test_a_store_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApplianceError, match=r"cannot write to the store .*file/store: Not a directory") as caught:
        Store(tmp_path / "file" / "store").partial("x")
    assert caught.value.code == "store_unwritable"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_refused_write_is_the_users_to_mend(tmp_path: Path, number: int) -> None:
    with pytest.raises(ApplianceError, match=os.strerror(number)), Store(tmp_path).writing():
        raise OSError(number, os.strerror(number), "x")


def test_other_faults_are_not_dressed_up(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"), Store(tmp_path).writing():
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def test_a_second_run_waits_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    holder = "import sys; from pathlib import Path; from appliance.store import Store\n"
    holder += f"with Store(Path({str(tmp_path)!r})).lock(): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        entered = threading.Event()

        def wait_for_it() -> None:
            with Store(tmp_path).lock():
                entered.set()

        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert not entered.wait(0.3)
        assert f"waiting for another run (process {other.pid})" in caplog.text
        other.stdin.close()
        assert entered.wait(10)
        waiting.join()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Store(tmp_path).lock():
        raise KeyError
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_store_comes_from_the_option_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WLK_STORE", raising=False)
    assert Store.configured().root == Path("build/store")
    monkeypatch.setenv("WLK_STORE", "/elsewhere")
    assert Store.configured().root == Path("/elsewhere")
    assert Store.configured(Path("here")).root == Path("here")
