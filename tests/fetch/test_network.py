"""Small pinned files from the Python index that this machine is configured with."""

import pytest

from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import Manifest
from appliance.store import Store
from tests.conftest import missing

pytestmark = pytest.mark.network


def test_recordings_from_a_source_distribution_and_a_wheel(manifest: Manifest, store: Store) -> None:
    with Fetcher(store) as fetcher:
        for name in ("librivox-0880", "librivox-0930", "es-hola-mundo"):
            try:
                artifact = fetcher.fetch(manifest.recording(name))
            except ApplianceError as error:
                missing(f"{name} can't be fetched: {error}")
            assert artifact.path.read_bytes()[:4] == b"RIFF"
            assert not artifact.reused
    assert list((store.root / "partial").iterdir()) == []
