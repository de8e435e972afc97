"""Prometheus' and Grafana's files name figures that the server has, and nothing that it lacks."""

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from appliance.journal.bounds import Bounds
from appliance.journal.folder import Folder
from appliance.journal.writer import Journal
from appliance.server.metrics import Metrics
from appliance.server.settings import Settings
from appliance.speech.scheduler import Turn
from tests.conftest import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/wlk.json").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/wlk-alerts.yml").read_text(encoding="utf-8"))
SCRAPE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
NAME = re.compile(r"\b(?:wlk|process)_[a-z_]+")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of all samples that a server exposes, and their labels."""
    asked = {
        "ready": lambda: True,
        "sessions": lambda: 0,
        "away": lambda: 0,
        "places": lambda: 1,
        "waiting": lambda: 0,
        "undiarized": lambda: 0,
        "files": lambda: 0,
        "worker": lambda: 0,
    }
    journal = Journal(Folder.own(tmp_path_factory.mktemp("kept") / "journal"), Bounds.of(1, 1), {})
    metrics = Metrics(Settings(), "base", **asked, journal=journal)
    metrics.took(Turn(1.0, 1, 1.0, 1))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    journal.close()
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_what_there_is_and_for_all_of_it(samples: dict[str, set[str]]) -> None:
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert len(asked) > 10 and asked <= set(samples)
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples if name.startswith("wlk_")}
    assert ours <= {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}


def test_queries_group_by_labels_that_there_are(samples: dict[str, set[str]]) -> None:
    alerts = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    for query in (*queries(), *alerts):
        labels = {"instance", "job"}.union(*(samples[name] for name in NAME.findall(query)))
        grouped = {label.strip() for found in re.findall(r"by \(([a-z, ]+)\)", query) for label in found.split(",")}
        chosen = set(re.findall(r"[{,] *([a-z]+)(?:=|=~|!=)\"", query))
        assert grouped | chosen <= labels, query


def test_the_dashboard_is_one_that_is_imported_anywhere() -> None:
    text = json.dumps(DASHBOARD)
    assert "http" not in text and '"id": null' not in text
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} and panel["description"]
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}


def test_alerts_ask_for_what_there_is(samples: dict[str, set[str]]) -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert {name for rule in rules for name in NAME.findall(rule["expr"])} <= set(samples)
    codes = {code for rule in rules for code in re.findall(r'(?:code|how)="(\w+)"', rule["expr"])}
    known = (ROOT / "docs/API.md").read_text(encoding="utf-8")
    assert codes == {"over_capacity", "internal", "inference_failed"} and all(f"`{code}`" in known for code in codes)


def test_the_scrape_trusts_our_ca_and_takes_its_token_from_a_file() -> None:
    (job,) = SCRAPE["scrape_configs"]
    assert (job["scheme"], job.get("metrics_path", "/metrics")) == ("https", "/metrics")
    assert job["tls_config"] == {"ca_file": "/etc/prometheus/wlk-ca.pem"}
    assert job["authorization"] == {"credentials_file": "/etc/prometheus/wlk-token"}
    assert [ROOT / "deploy/prometheus" / file for file in SCRAPE["rule_files"]] == [
        ROOT / "deploy/prometheus/wlk-alerts.yml"
    ]
    assert 'job="wlk"' in json.dumps(ALERTS).replace('\\"', '"') and job["job_name"] == "wlk"


def test_the_document_tells_all_figures(samples: dict[str, set[str]]) -> None:
    told = set(NAME.findall(DOCUMENT))
    exposed = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples if name.startswith("wlk_")}
    assert {name for name in told if name.startswith("wlk_")} == exposed
