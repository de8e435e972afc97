"""The manifests: valid for Kubernetes' own schemas, and true to what the server and its images are."""

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from appliance import __version__
from appliance.server.flags import unknown_variables
from appliance.server.service import STOP_GRACE_S
from appliance.server.settings import Settings
from tests.conftest import ROOT
from tests.deploy.kustomize import Object, patched, resolved
from tests.deploy.routes import ROUTES

KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDERS = (KUBERNETES / "base", KUBERNETES / "overlays" / "gpu")
_NEWEST_MINOR = int(kubernetes_validate.latest_version().split(".")[1])
VERSIONS = [f"1.{minor}" for minor in range(30, _NEWEST_MINOR + 1)]
"""From the first that knows preStop's sleep without being asked to."""

variants = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def one(folder: Path, kind: str) -> Object:
    (found,) = (item for item in resolved(folder) if item["kind"] == kind)
    return found


def pod_of(folder: Path) -> dict[str, Any]:
    pod: dict[str, Any] = one(folder, "Deployment")["spec"]["template"]["spec"]
    return pod


def container_of(folder: Path) -> dict[str, Any]:
    (container,) = pod_of(folder)["containers"]
    assert isinstance(container, dict)
    return container


def env_of(folder: Path) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container_of(folder)["env"]}


@variants
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(folder: Path, version: str) -> None:
    objects = resolved(folder)
    assert {item["kind"] for item in objects} == {
        "Namespace", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"
    }  # fmt: skip
    for item in objects:
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_schemas_are_looked_at() -> None:
    good = one(FOLDERS[0], "Deployment")
    for path, value in (
        (("spec", "replicas"), "two"),
        (("spec", "template", "spec", "enableServiceLink"), False),
        (("spec", "template", "spec", "containers", 0, "startupProbe", "httpGet", "schema"), "HTTPS"),
        (("spec", "template", "spec", "containers", 0, "lifecycle", "preStop", "sleep", "seconds"), "5 s"),
    ):
        wrong = copy.deepcopy(good)
        place: Any = wrong
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_documents_overlay_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml kustomization\n(.*?)```", text, re.DOTALL)
    carried = "../wlk-appliance/deploy/kubernetes"
    assert example.count(carried) == 2
    (tmp_path / "kustomization.yaml").write_text(example.replace(carried, str(KUBERNETES)), encoding="utf-8")
    for item in resolved(tmp_path):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)
    assert one(tmp_path, "Deployment")["spec"]["replicas"] == 4
    assert container_of(tmp_path)["image"] == "registry.site.example/wlk-appliance:0.1.0-cpu-small"
    assert env_of(tmp_path)["WLK_LANGUAGE"] == "de" and "WLK_TOKEN_FILE" in env_of(tmp_path)


@variants
def test_tokens_come_from_a_secret_by_a_component(folder: Path, tmp_path: Path) -> None:
    site = {"kind": "Kustomization", "resources": [str(folder)], "components": [str(KUBERNETES / "components/tokens")]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    deployment = one(tmp_path, "Deployment")
    assert kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True) == VERSIONS[-1]
    env = env_of(tmp_path)
    assert not unknown_variables(env) and env | {"WLK_TOKEN_FILE": "/tokens/tokens"} == env
    (mount,) = (mount for mount in container_of(tmp_path)["volumeMounts"] if mount["mountPath"] == "/tokens")
    assert mount["readOnly"] is True
    (volume,) = (volume for volume in pod_of(tmp_path)["volumes"] if volume["name"] == mount["name"])
    # For the server's group alone: the server warns where others may read its tokens.
    assert volume["secret"]["defaultMode"] == 0o440
    made = (KUBERNETES / "components/tokens/deployment.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert f"secret generic {volume['secret']['secretName']} --from-file=tokens=" in made
    assert "WLK_TOKEN_FILE" not in env_of(folder)


def test_a_patch_that_does_not_fit_is_an_error() -> None:
    document = {"env": [{"name": "A"}]}
    with pytest.raises(AssertionError):
        patched(document, [{"op": "test", "path": "/env/0/name", "value": "B"}])
    with pytest.raises(AssertionError):
        patched(document, [{"op": "replace", "path": "/image", "value": "B"}])


@variants
def test_it_meets_the_restricted_profile_and_writes_nowhere_else(folder: Path) -> None:
    assert one(folder, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod, container = pod_of(folder), container_of(folder)
    user, group = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "images/cpu/Dockerfile").read_text(), re.MULTILINE)[0]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(group),
        "fsGroup": int(group),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/tmp"]["emptyDir"]["medium"] == "Memory"
    assert set(mounts) == {"/tmp", "/var/lib/wlk", "/tls"}
    assert mounts["/tls"]["secret"]["defaultMode"] == 0o440


@variants
def test_probes_ask_routes_of_the_server(folder: Path) -> None:
    container = container_of(folder)
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in (ROOT / "images/cpu/Dockerfile").read_text()
    for kind, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert path in ROUTES
        # Nothing turns TLS off, so the probes speak it.
        assert container[kind]["httpGet"] == {"path": path, "port": port["name"], "scheme": "HTTPS"}
    assert "WLK_TLS" not in env_of(folder)
    service = one(folder, "Service")["spec"]
    assert [item["targetPort"] for item in service["ports"]] == [port["name"]]


@variants
def test_settings_are_the_servers(folder: Path) -> None:
    env = env_of(folder)
    assert not unknown_variables(env)
    plain = {name.removeprefix("WLK_").lower(): value for name, value in env.items() if isinstance(value, str)}
    Settings.model_validate(plain)
    # A Service named wlk would set WLK_PORT.
    assert one(folder, "Service")["metadata"]["name"] == "wlk" and pod_of(folder)["enableServiceLinks"] is False


@variants
def test_objects_find_each_other(folder: Path) -> None:
    deployment = one(folder, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        one(folder, "Service")["spec"]["selector"],
        one(folder, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one(folder, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    (namespace,) = {item["metadata"].get("namespace") for item in resolved(folder) if item["kind"] != "Namespace"}
    assert namespace == one(folder, "Namespace")["metadata"]["name"]


@variants
def test_the_network_is_one_port_in_and_nothing_out(folder: Path) -> None:
    policy = one(folder, "NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"] and policy["egress"] == []
    (rule,) = policy["ingress"]
    (port,) = container_of(folder)["ports"]
    assert rule == {"ports": [{"port": port["name"], "protocol": "TCP"}]}


@variants
def test_a_stop_leaves_time_for_last_words(folder: Path) -> None:
    sleep_s = container_of(folder)["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The server's shutdown: clients, uvicorn's own 2 s, and some for the process.
    assert pod_of(folder)["terminationGracePeriodSeconds"] >= sleep_s + STOP_GRACE_S + 1 + 2 + 5


def test_workers_on_the_cpu_are_the_cores_that_the_pod_has() -> None:
    container = container_of(KUBERNETES / "base")
    assert env_of(KUBERNETES / "base")["WLK_WORKERS"] == {
        "resourceFieldRef": {"containerName": container["name"], "resource": "limits.cpu"}
    }
    assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"] == "4"
    assert container["image"] == f"wlk-appliance:{__version__}-cpu-base"


def test_the_gpu_overlay_has_a_gpu_and_the_image_for_it() -> None:
    folder = KUBERNETES / "overlays" / "gpu"
    container, env = container_of(folder), env_of(folder)
    assert container["image"] == f"wlk-appliance:{__version__}-x86-cuda-base"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert env["WLK_DEVICE"] == "cuda" and "WLK_WORKERS" not in env
    assert one(folder, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
