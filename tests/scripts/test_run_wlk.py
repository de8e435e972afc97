"""The real script; where a container is needed, with the real engine and image."""

import http.client
import os
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.build import Names
from appliance.container.engine import Engine
from appliance.container.engine_setup import find_engine
from appliance.pair.locate import Pair
from tests.conftest import ROOT, missing
from tests.programs import put

SCRIPT = ROOT / "scripts/run_wlk.sh"


def run_wlk(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, *words], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "which model?"),
        (("base", "--gpu", "all"), "unknown option: --gpu"),
        (("base", "small"), "one model only: base or small?"),
        (("base", "--port"), "--port needs a value"),
        (("base", "--port", "eighty"), "not a port: eighty"),
        (("base", "--port", "0"), "not a port: 0"),
        (("base", "--port", "70000"), "not a port: 70000"),
        (("base", "--lan"), "--lan needs a value"),
        (("base", "--lan", "--local"), "not a language: --local"),
        (("../base",), "not a model name: ../base"),
    ],
)
def test_wrong_use_is_told_with_status_2(words: tuple[str, ...], message: str) -> None:
    done = run_wlk(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {message}" in done.stderr
    assert "hint:" in done.stderr


def test_help_needs_no_engine() -> None:
    done = run_wlk("--help", WLK_ENGINE="/none")
    assert done.returncode == 0
    for option in ("-f", "--port", "--lan", "--local", "--models-dir", "--gpus", "--journal"):
        assert option in done.stdout


def test_an_engine_that_does_not_answer_is_told() -> None:
    done = run_wlk("base", WLK_ENGINE="/none/docker")
    assert done.returncode == 1
    assert "/none/docker does not answer" in done.stderr


LOADED = "wlk-appliance:cpu-base\nwlk-appliance:0.1.0-cpu-base\nwlk-appliance:jetson-thor-base\n"


def started(tmp_path: Path, engine: str, *words: str, **environment: str) -> tuple[str, str]:
    """What an engine that is a stand-in is asked to run, and what the script says."""
    body = f"""case "$1" in
images) printf '{LOADED}' ;;
inspect) echo false ;;
run) echo "$@" >{tmp_path}/asked ;;
esac"""
    program = put(tmp_path / "bin", engine, body)
    places = {"WLK_TEGRA_RELEASE": f"{tmp_path}/none", "WLK_SITE_MODELS": f"{tmp_path}/models"}
    done = run_wlk(*words, **{**places, "WLK_ENGINE": str(program), **environment})
    asked = tmp_path / "asked"
    return asked.read_text(encoding="utf-8") if asked.exists() else "", done.stderr


def test_gpus_are_handed_in_as_each_engine_wants_it(tmp_path: Path) -> None:
    for engine, spec, wanted in (
        ("docker", '"device=2"', '--gpus "device=2"'),
        ("docker", "all", "--gpus all"),
        ("podman", '"device=2"', "--device nvidia.com/gpu=2"),
        ("podman", "all", "--device nvidia.com/gpu=all"),
    ):
        asked, _ = started(tmp_path, engine, "base", "--gpus", spec)
        assert f" {wanted} " in asked and " WLK_DEVICE=cuda " in asked
        assert asked.endswith("wlk-appliance:jetson-thor-base\n")


def test_a_jetson_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "release").write_text("# R38", encoding="utf-8")
    asked, _ = started(tmp_path, "docker", "base", WLK_TEGRA_RELEASE=f"{tmp_path}/release")
    assert " --runtime nvidia --env NVIDIA_VISIBLE_DEVICES=all " in asked and "--gpus" not in asked
    assert asked.endswith("wlk-appliance:jetson-thor-base\n")


def test_models_of_the_site_are_taken_where_no_image_holds_them(tmp_path: Path) -> None:
    halves = [tmp_path / "models" / f"{half}-whisper-medium" for half in ("faster", "pytorch")]
    halves[0].mkdir(parents=True)
    asked, said = started(tmp_path, "docker", "medium")
    assert (asked, "has no pytorch-whisper-medium" in said) == ("", True)
    assert f"copy that folder to {halves[1]}" in said
    halves[1].mkdir()
    asked, _ = started(tmp_path, "docker", "medium")
    assert f"{tmp_path}/models:/site-models:ro" in asked and asked.endswith("wlk-appliance:cpu-base\n")
    for half in ("faster", "pytorch"):
        (tmp_path / "models" / f"{half}-whisper-base").mkdir()
    asked, _ = started(tmp_path, "docker", "base")
    assert "/site-models" not in asked


def test_a_translation_model_of_the_site_is_mounted(tmp_path: Path) -> None:
    folder = tmp_path / "nllb"
    folder.mkdir()
    asked, said = started(tmp_path, "docker", "base", WLK_TRANSLATION_DIR=str(folder))
    assert (asked, f"no model.bin in {folder}" in said) == ("", True)
    (folder / "model.bin").touch(0o600)
    asked, said = started(tmp_path, "docker", "base", WLK_TRANSLATION_DIR=str(folder))
    assert (asked, f"chmod -R a+rX {folder}" in said) == ("", True)
    (folder / "model.bin").chmod(0o644)
    asked, _ = started(tmp_path, "docker", "base", WLK_TRANSLATION_DIR=str(folder))
    assert f" --volume {folder}:/translation:ro " in asked and " WLK_TRANSLATION_DIR=/translation " in asked
    assert asked.count("WLK_TRANSLATION_DIR") == 1
    asked, _ = started(tmp_path, "docker", "base", WLK_TRANSLATION_DIR="")
    assert "/translation" not in asked


def test_a_journal_lies_in_the_state_or_in_a_folder_of_its_own(tmp_path: Path) -> None:
    asked, _ = started(tmp_path, "docker", "base", WLK_JOURNAL="")
    assert "journal" not in asked and "JOURNAL" not in asked, "off by default"
    for words, environment in ((["--journal"], ""), ([], "/var/lib/wlk/journal")):
        asked, _ = started(tmp_path, "docker", "base", *words, WLK_JOURNAL=environment)
        assert " WLK_JOURNAL=/var/lib/wlk/journal " in asked and asked.count("--volume") == 1
        assert asked.count("WLK_JOURNAL") == 1
    folder = tmp_path / "kept"
    for engine, label in (("docker", ""), ("podman", ":z")):
        (tmp_path / "asked").unlink()
        asked, said = started(tmp_path, engine, "base", WLK_JOURNAL=str(folder))
        assert (asked, f"install -d -o 10001 -g 10001 -m 0700 {folder}" in said) == ("", True)
        folder.mkdir(0o700)
        asked, _ = started(tmp_path, engine, "base", "--journal", WLK_JOURNAL=str(folder))
        assert f" --volume {folder}:/journal{label} " in asked and " WLK_JOURNAL=/journal " in asked
        asked, _ = started(tmp_path, engine, "base", "--aside", WLK_JOURNAL=str(folder))
        assert "journal" not in asked and "JOURNAL" not in asked, "a trial keeps nothing"
        folder.rmdir()
    assert "WLK_JOURNAL is no folder: kept" in started(tmp_path, "docker", "base", WLK_JOURNAL="kept")[1]


def test_a_trial_has_nothing_of_the_state_but_weights(tmp_path: Path) -> None:
    """Voices lie there too; without them it is a trial all the same, and an update is not refused for them."""
    state = tmp_path / "state"
    (state / "voices").mkdir(parents=True)
    site = {"WLK_ENROLL": "Anna=/var/lib/wlk/anna.wav", "WLK_STATE_VOLUME": str(state), "WLK_DIARIZATION": "true"}
    file = "/var/lib/wlk/voices/own.pt"
    asked, _ = started(tmp_path, "docker", "base", **site)
    assert " --env WLK_ENROLL " in asked
    asked, said = started(tmp_path, "docker", "base", "--aside", **site, WLK_DIARIZATION_FILE=file)
    assert f"no such file: {state}/voices/own.pt" in said
    (state / "voices" / "own.pt").touch()
    asked, _ = started(tmp_path, "docker", "base", "--aside", **site, WLK_DIARIZATION_FILE=file)
    assert "WLK_ENROLL" not in asked and f" --volume {state}/voices/own.pt:{file}:ro " in asked
    assert " --env WLK_DIARIZATION_FILE " in asked and " --env WLK_DIARIZATION " in asked


def test_names_that_were_found_are_none_that_were_asked_for(tmp_path: Path) -> None:
    asked, _ = started(tmp_path, "docker", "base", WLK_TLS_NAMES="box.example")
    assert " --env WLK_TLS_NAMES " in asked
    [found] = [word for word in asked.split() if word.startswith("WLK_TLS_HOST_NAMES=")]
    assert socket.gethostname() in found and "box.example" not in found


@pytest.fixture(scope="module")
def engine() -> Engine:
    found, problems = find_engine()
    if found is None:
        missing(f"a container engine: {'; '.join(problems) or 'none installed'}")
    if found.describe(Names("cpu", ("base",)).full) is None:
        missing("the image of base: make image")
    return found


@pytest.fixture
def site(engine: Engine, names: None) -> Iterator[dict[str, str]]:
    """Names of a container and a volume of this test's own, removed at its end."""
    name = f"wlk-test-{secrets.token_hex(4)}"
    yield {"WLK_NAME": name, "WLK_STATE_VOLUME": f"{name}-state", "WLK_ENGINE": str(engine.program)}
    engine.run(["rm", "--force", name], check=False, capture=True)
    engine.run(["volume", "rm", "--force", f"{name}-state"], check=False, capture=True)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
        return free


def ready(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.5)
    return False


@pytest.mark.image
def test_starts_in_the_background_hardened_and_only_once(engine: Engine, site: dict[str, str], port: int) -> None:
    done = run_wlk("base", "--local", "--port", str(port), **site)
    assert done.returncode == 0, done.stderr
    assert f"https://127.0.0.1:{port}" in done.stdout
    assert ready(port)
    template = (
        "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.PidsLimit}}"
    )
    assert engine.output(["inspect", "--format", template, site["WLK_NAME"]]) == "true [ALL] [no-new-privileges] 512"
    bound = engine.output(["port", site["WLK_NAME"]])
    assert bound == f"8000/tcp -> 127.0.0.1:{port}"
    again = run_wlk("base", "--port", str(port), **site)
    assert again.returncode == 1
    assert f"{site['WLK_NAME']} is already running" in again.stderr


@pytest.mark.image
def test_a_journal_in_the_container_is_its_users_alone(engine: Engine, site: dict[str, str], port: int) -> None:
    done = run_wlk("base", "--journal", "--local", "--port", str(port), **site)
    assert done.returncode == 0, done.stderr
    assert ready(port)
    name = site["WLK_NAME"]
    assert engine.output(["exec", name, "stat", "--format", "%a %u:%g", "/var/lib/wlk/journal"]) == "700 10001:10001"
    listed = engine.run(["exec", name, "python3", "-m", "appliance", "journal", "list"], capture=True)
    assert "nothing in /var/lib/wlk/journal" in listed.stderr


@pytest.mark.image
def test_port_in_use_is_told_and_leaves_no_container(engine: Engine, site: dict[str, str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run_wlk("base", "--port", str(port), **site)
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert engine.output(["ps", "--all", "--quiet", "--filter", f"name={site['WLK_NAME']}"]) == ""


@pytest.mark.image
def test_model_without_image_lists_what_is_loaded_and_what_to_type(site: dict[str, str]) -> None:
    done = run_wlk("large-v3", **site)
    assert done.returncode == 1
    assert "no image for model large-v3 is loaded" in done.stderr
    assert "wlk-appliance:cpu-base" in done.stderr
    assert "load --input" in done.stderr


@pytest.mark.image
def test_bad_models_dir_is_told(site: dict[str, str], tmp_path: Path) -> None:
    assert f"no such folder: {tmp_path}/none" in run_wlk("base", "--models-dir", f"{tmp_path}/none", **site).stderr
    assert "has no faster-whisper-base" in run_wlk("base", "--models-dir", str(tmp_path), **site).stderr
    for half in ("faster-whisper-base", "pytorch-whisper-base"):
        (tmp_path / half).mkdir()
    hidden = tmp_path / "pytorch-whisper-base/base.pt"
    hidden.write_bytes(b"")
    hidden.chmod(0o600)
    assert f"may not read {hidden}" in run_wlk("base", "--models-dir", str(tmp_path), **site).stderr


@pytest.mark.image
@pytest.mark.model
def test_network_language_and_models_of_the_site(
    engine: Engine, site: dict[str, str], port: int, tmp_path: Path, base_pair: Pair
) -> None:
    for folder in (base_pair.encoder_dir, base_pair.decoder_file.parent):
        (tmp_path / folder.name).mkdir()
        for file in folder.iterdir():
            copy = tmp_path / folder.name / file.name
            copy.write_bytes(file.read_bytes())
            copy.chmod(0o644)
    tmp_path.chmod(0o755)
    done = run_wlk("base", "--lan", "en", "--port", str(port), "--models-dir", str(tmp_path), **site)
    assert done.returncode == 0, done.stderr
    assert ready(port), engine.run(["logs", site["WLK_NAME"]], capture=True).stderr
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    from cryptography import x509

    names = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert socket.gethostname() in names.value.get_values_for_type(x509.DNSName)
    assert engine.output(["port", site["WLK_NAME"]]).startswith(f"8000/tcp -> 0.0.0.0:{port}")
    settings = engine.output(["inspect", "--format", "{{.Config.Env}}", site["WLK_NAME"]])
    assert "WLK_LANGUAGE=en" in settings
    mounts = engine.output(["inspect", "--format", "{{range .Mounts}}{{.Source}} {{.RW}};{{end}}", site["WLK_NAME"]])
    assert f"{tmp_path} false;" in mounts


@pytest.mark.image
def test_a_gpu_is_not_handed_to_an_image_that_can_not_use_it(site: dict[str, str]) -> None:
    done = run_wlk("base", "--gpus", "all", **site)
    assert done.returncode == 1
    assert "no image for model base that can use a GPU is loaded" in done.stderr


@pytest.mark.image
def test_the_certificate_outlives_the_container(engine: Engine, site: dict[str, str], port: int) -> None:
    seen = []
    for _ in range(2):
        assert run_wlk("base", "--port", str(port), **site).returncode == 0
        assert ready(port)
        seen.append(ssl.get_server_certificate(("127.0.0.1", port)))
        engine.run(["rm", "--force", site["WLK_NAME"]], capture=True)
    assert seen[0] == seen[1]


def test_diarization_by_its_older_name_is_handed_on(tmp_path: Path) -> None:
    assert " --env DIAR " in started(tmp_path, "docker", "base", DIAR="1")[0]
    assert "DIAR" not in started(tmp_path, "docker", "base")[0]
