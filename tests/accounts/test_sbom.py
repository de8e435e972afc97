"""Bills of materials, checked against CycloneDX's own schema."""

import json

from appliance.accounts.components import Component
from appliance.accounts.sbom import cyclonedx

COMPONENTS = [
    Component("debian", "libstdc++6", "1:12.2.0-14+deb12u1", architecture="amd64"),
    Component("python", "torch", "2.13.0+cpu", "BSD-3-Clause AND MIT", has_spdx=True),
    Component("python", "numpy", "2.4.6", "BSD"),
    Component("model", "whisper-base", "a" * 12, "MIT", True, "a" * 64, "index: x", files=(("/models/x", "b" * 64),)),
    Component("model", "diarizer", "c" * 12, "LicenseRef-NVIDIA-Open-Model-License", True, "c" * 64, "hub"),
    Component("recording", "speech", "d" * 12, "Public domain (LibriVox)", False, "d" * 64, "index"),
]


def test_a_bill_follows_the_schema() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator  # a second to load, so only where it is used

    text = cyclonedx("wlk-appliance", "0.1.0", COMPONENTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == cyclonedx("wlk-appliance", "0.1.0", COMPONENTS)


def test_a_bill_names_each_component_once() -> None:
    bill = json.loads(cyclonedx("wlk-appliance", "0.1.0", COMPONENTS))
    references = [one["bom-ref"] for one in bill["components"]]
    assert references[:2] == [
        "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64",
        "pkg:pypi/torch@2.13.0%2Bcpu",
    ]
    assert len(set(references)) == len(COMPONENTS)
