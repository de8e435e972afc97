"""Choosing an engine among real programs on PATH; the programs are scripts that answer like one."""

import os
from pathlib import Path

import pytest

from appliance.container import engine_setup as module
from appliance.container.engine_setup import ENGINE_VARIABLE, ensure_engine, find_engine, forget_stale_pid
from appliance.errors import ApplianceError
from tests.programs import put


@pytest.fixture(autouse=True)
def no_system_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_SYSTEM_DOCKER", tmp_path / "none")
    monkeypatch.setattr(module, "_daemon_program", lambda: None)
    monkeypatch.setattr(module, "_DAEMON_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)


WITHOUT_BUILDX = 'case "$1" in version) echo 28.2.2 20.10.24 ;; *) exit 1 ;; esac'
BUILTIN = 'case "$1" in version) echo 20.10.24 20.10.24 ;; *) exit 1 ;; esac'
NO_DAEMON = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"


def test_newer_client_without_buildx_is_passed_over(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programs, "docker", WITHOUT_BUILDX)
    good = put(tmp_path / "second", "docker", BUILTIN)
    monkeypatch.setenv("PATH", f"{programs}:{good.parent}")
    found, problems = find_engine()
    assert found is not None
    assert (found.kind, found.program, found.version) == ("docker", good, "20.10.24")
    assert len(problems) == 1
    assert "28.2.2 has no buildx plugin" in problems[0]


def test_newer_client_with_buildx_is_taken(programs: Path) -> None:
    first = put(programs, "docker", 'case "$1" in version) echo 28.2.2 28.2.2 ;; buildx) ;; *) exit 1 ;; esac')
    found, _ = find_engine()
    assert found is not None
    assert found.program == first


def test_podman_when_docker_has_no_daemon(programs: Path) -> None:
    put(programs, "docker", NO_DAEMON)
    put(programs, "podman", "echo podman version 4.3.1")
    found, problems = find_engine()
    assert found is not None
    assert (found.kind, found.version) == ("podman", "4.3.1")
    assert "Cannot connect" in problems[0]


@pytest.fixture
def stopped(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker is installed and stopped, and podman works; returns the program that starts daemons."""
    put(programs, "docker", f"if [ -e {tmp_path}/started ]; then {BUILTIN}; else {NO_DAEMON}; fi")
    put(programs, "podman", "echo podman version 4.3.1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(module, "_systemd_runs", lambda: False)
    monkeypatch.setattr(module, "_daemon_program", lambda: Path("/usr/sbin/dockerd"))
    return put(programs, "start-stop-daemon", f": >{tmp_path}/started")


@pytest.mark.parametrize("chosen", ["auto", "docker"])
def test_a_stopped_docker_is_started_although_podman_works(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, chosen)
    assert ensure_engine(tmp_path).kind == "docker"


def test_podman_where_docker_can_not_be_started(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert ensure_engine(tmp_path).kind == "podman"
    monkeypatch.setenv(ENGINE_VARIABLE, "docker")
    with pytest.raises(ApplianceError, match="start-stop-daemon"):
        ensure_engine(tmp_path)


def test_podman_where_only_root_could_start_docker(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert ensure_engine(tmp_path).kind == "podman"


def test_chosen_engine_that_fails_is_an_error_and_no_other_is_tried(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programs, "docker", BUILTIN)
    monkeypatch.setenv(ENGINE_VARIABLE, str(put(tmp_path / "other", "podman", "exit 1")))
    with pytest.raises(ApplianceError, match=r"the engine .*podman does not work"):
        ensure_engine(tmp_path)


@pytest.mark.parametrize(
    ("said", "daemon", "hint"),
    [
        ("permission denied while trying to connect", True, "usermod -aG docker"),
        ("Cannot connect to the Docker daemon", True, "systemctl start docker"),
        ("Cannot connect to the Docker daemon", False, "apt-get install --yes docker.io"),
    ],
)
def test_without_root_the_hint_is_what_to_type(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, daemon: bool, hint: str
) -> None:
    put(programs, "docker", f"echo '{said}' >&2; exit 1")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(module, "_daemon_program", lambda: Path("/usr/sbin/dockerd") if daemon else None)
    with pytest.raises(ApplianceError, match="no container engine works") as raised:
        ensure_engine(tmp_path)
    assert hint in raised.value.hint
    assert said in raised.value.message


def test_an_engine_that_hangs_is_passed_over(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROBE_TIMEOUT_S", 0.3)
    put(programs, "docker", "exec /bin/sleep 30")
    good = put(tmp_path / "second", "docker", BUILTIN)
    monkeypatch.setenv("PATH", f"{programs}:{good.parent}")
    found, problems = find_engine()
    assert found is not None
    assert found.program == good
    assert "no answer within 0.3 s" in problems[0]


def test_a_process_id_that_another_process_has_by_now_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    own_name = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    file.write_text(str(os.getpid()), encoding="ascii")
    assert not forget_stale_pid(file, own_name)
    assert file.is_file()
    assert forget_stale_pid(file, "dockerd")
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "not a number", "4194999"])
def test_a_process_id_file_that_names_nobody_is_left_to_docker(tmp_path: Path, content: str) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(content, encoding="ascii")
    assert not forget_stale_pid(file, "dockerd")
    assert file.is_file()


@pytest.mark.parametrize(
    ("name", "says", "expected"),
    [
        ("docker", 'case "$1" in version) echo 19.03.1 19.03.1 ;; *) exit 1 ;; esac', "version 19.03.1 is too old, 20"),
        ("podman", "echo podman version 3.4.4", "version 3.4.4 is too old, 4"),
        ("buildah", "echo buildah version 0.9", "version 0.9 is too old, 1"),
    ],
)
def test_an_engine_that_is_too_old_is_told(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str, expected: str
) -> None:
    put(programs, name, says)
    monkeypatch.setenv(ENGINE_VARIABLE, name)
    with pytest.raises(ApplianceError, match=f"the engine {name} does not work: .*{expected}"):
        ensure_engine(tmp_path)


def test_a_chosen_engine_is_taken_although_another_stands_first(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programs, "docker", BUILTIN)
    put(programs, "buildah", "echo buildah version 1.28.2")
    monkeypatch.setenv(ENGINE_VARIABLE, "buildah")
    found, _ = find_engine()
    assert found is not None and (found.kind, found.version) == ("buildah", "1.28.2")
    monkeypatch.setenv(ENGINE_VARIABLE, "auto")
    found, _ = find_engine()
    assert found is not None and found.kind == "docker"
