import pytest

from appliance.errors import ApplianceError
from appliance.manifest import Manifest
from appliance.manifest.licences import POLICIES, Policy, check_licences, terms


def test_every_shipped_licence_is_known(manifest: Manifest) -> None:
    assert not [item.name for item in manifest.items() if "not known" in terms(item.licence).condition]


@pytest.mark.parametrize("policy", POLICIES)
def test_free_models_pass_every_policy(manifest: Manifest, policy: Policy) -> None:
    check_licences([manifest.model("base"), manifest.asset("silero-vad"), manifest.asset("sortformer-v2")], policy)


@pytest.mark.parametrize(
    ("licence", "allowed_by"),
    [
        ("MIT", {"any", "redistributable", "commercial"}),
        ("Public domain (LibriVox)", {"any", "redistributable", "commercial"}),
        ("CC-BY-NC-4.0", {"any", "redistributable"}),
        ("LicenseRef-NVIDIA-Open-Model-License", {"any"}),
        ("Some licence", {"any"}),
    ],
)
def test_what_a_policy_allows(manifest: Manifest, licence: str, allowed_by: set[str]) -> None:
    item = manifest.model("base").model_copy(update={"licence": licence})
    for policy in POLICIES:
        if policy in allowed_by:
            check_licences([item], policy)
            continue
        with pytest.raises(ApplianceError, match="does not allow:\n  base: ") as raised:
            check_licences([item], policy)
        assert licence in raised.value.message and "--licence-policy" in raised.value.hint


def test_the_newer_diarizer_is_refused_where_the_older_one_is_not(manifest: Manifest) -> None:
    with pytest.raises(ApplianceError, match=r"sortformer-v2\.1: .*NVIDIA") as raised:
        check_licences([manifest.asset("sortformer-v2"), manifest.asset("sortformer-v2.1")], "redistributable")
    assert "sortformer-v2:" not in raised.value.message


def test_a_commercial_build_may_not_have_nllb(manifest: Manifest) -> None:
    nllb = manifest.translator("nllb").items
    check_licences(nllb, "redistributable")
    with pytest.raises(
        ApplianceError, match=r"nllb-200-distilled-600m/model\.bin: CC-BY-NC-4\.0 \(no commercial use\)"
    ):
        check_licences(nllb, "commercial")


@pytest.mark.parametrize("policy", POLICIES)
def test_any_build_may_have_m2m100(manifest: Manifest, policy: Policy) -> None:
    check_licences(manifest.translator("m2m100").items, policy)
