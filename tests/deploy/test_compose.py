"""The compose file: valid for the Compose Specification's schema, and as hardened as run_wlk.sh."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from appliance import __version__
from appliance.server.flags import unknown_variables
from tests.conftest import ROOT
from tests.deploy.proxies import HAPROXY, NGINX

FILE = ROOT / "deploy" / "compose" / "compose.yaml"
TOKENS = FILE.with_name("tokens.yaml")
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
INSTANCES = {name: service for name, service in SERVICES.items() if re.fullmatch(r"wlk-\d+", name)}
PROXIES = {name: service for name, service in SERVICES.items() if name not in INSTANCES}


def check_schema(file: Path) -> Result:
    from check_jsonschema import main  # a second to load: once, and only where it is used

    return CliRunner().invoke(main, ["--builtin-schema", "vendor.compose-spec", str(file)])


@pytest.mark.parametrize("file", [FILE, TOKENS], ids=lambda file: file.name)
def test_it_is_valid(file: Path) -> None:
    done = check_schema(file)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "readonly: true"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
        ("profiles: [nginx]", "profile: [nginx]"),
    ],
)
def test_the_schema_is_looked_at(tmp_path: Path, right: str, wrong: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong), encoding="utf-8")
    done = check_schema(tmp_path / "compose.yaml")
    assert done.exit_code == 1 and wrong.split(":")[0] in done.output


def test_there_are_several_instances_and_a_choice_of_proxies() -> None:
    assert len(INSTANCES) >= 2
    assert {name: proxy["profiles"] for name, proxy in PROXIES.items()} == {"haproxy": ["haproxy"], "nginx": ["nginx"]}
    assert not any("profiles" in service for service in INSTANCES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_bounded_and_never_pulled(name: str) -> None:
    service = SERVICES[name]
    assert service["pull_policy"] == "never" and service["restart"] == "unless-stopped"
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0 and service["mem_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_instances_run_as_run_wlk_runs_them() -> None:
    script = (ROOT / "scripts" / "run_wlk.sh").read_text(encoding="utf-8")
    assert "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges" in script
    (memory,) = re.findall(r"--memory \"(\$\{WLK_MEMORY:-\w+\})\"", script)
    (pids,) = re.findall(r"--pids-limit (\d+)", script)
    for name, service in INSTANCES.items():
        assert (service["mem_limit"], service["pids_limit"]) == (memory, int(pids))
        assert service["tmpfs"] == ["/tmp"] and service["volumes"] == [f"{name}-state:/var/lib/wlk"]
        assert service["healthcheck"]["test"][-2:] == ["health", "--ready"]
        assert service["image"] == f"${{WLK_IMAGE:-wlk-appliance:{__version__}-cpu-base}}"


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for service in INSTANCES.values():
        assert set(service["networks"]) == {"inside"} and "ports" not in service
        assert service["environment"]["WLK_TLS"] == "false"
    for service in PROXIES.values():
        assert set(service["networks"]) == {"inside", "outside"} and service["ports"]


def test_proxies_find_the_instances() -> None:
    addresses = {name: service["networks"]["inside"]["ipv4_address"] for name, service in INSTANCES.items()}
    for proxy, config in (("nginx", NGINX), ("haproxy", HAPROXY)):
        assert dict(host.split(":") for host in PROXIES[proxy]["extra_hosts"]) == addresses
        for name in addresses:
            assert f" {name}:8000" in config.read_text(encoding="utf-8")
        (mounted,) = (volume for volume in PROXIES[proxy]["volumes"] if volume.startswith("../"))
        source, target, mode = mounted.split(":")
        assert (FILE.parent / source).resolve() == config and mode == "ro"
        (tls,) = (volume.split(":")[-2] for volume in PROXIES[proxy]["volumes"] if "/tls:ro" in volume)
        assert f"{tls}/wlk.pem" in config.read_text(encoding="utf-8")
        assert Path(target).is_absolute()


def test_each_instance_has_cores_of_its_own() -> None:
    cores = [service["cpuset"] for service in INSTANCES.values()]
    assert all(re.match(r"\$\{WLK_\d_CPUS:\?", value) for value in cores) and len(set(cores)) == len(cores)


def test_variables_are_settings_or_explained() -> None:
    for service in INSTANCES.values():
        assert not unknown_variables(service["environment"])
    text = FILE.read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(
        line.split("=", 1)
        for line in (FILE.parent / "example.env").read_text(encoding="utf-8").splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert needed <= set(example) <= set(re.findall(r"\$\{(\w+):", text))


def test_tokens_of_a_file_reach_each_instance_as_a_secret() -> None:
    """A file of its own, for compose wants the file of a secret to be there."""
    added = yaml.safe_load(TOKENS.read_text(encoding="utf-8"))
    assert set(added["services"]) == set(INSTANCES) and "secrets" not in COMPOSE
    (secret,) = added["secrets"]
    for service in added["services"].values():
        assert service == {"environment": {"WLK_TOKEN_FILE": f"/run/secrets/{secret}"}, "secrets": [secret]}
        assert not unknown_variables(service["environment"])
    # Mounted as it is: its owner is the server's user, of the image.
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "images/cpu/Dockerfile").read_text(), re.MULTILINE)[0]
    assert f"install -o {user} -g {group} -m 0400 " in TOKENS.read_text(encoding="utf-8")
