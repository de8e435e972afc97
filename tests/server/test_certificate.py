from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.server.certificate import check, load
from tests.server.certificates import put_foreign


@pytest.mark.parametrize(
    ("days", "other_key", "expected"),
    [(-1, False, "expired on"), (10, True, "the key is not the certificate's")],
)
def test_own_certificate_is_checked(tmp_path: Path, days: float, other_key: bool, expected: str) -> None:
    with pytest.raises(ApplianceError, match=expected) as caught:
        check(put_foreign(tmp_path, days=days, other_key=other_key))
    assert caught.value.hint


def test_own_certificate_that_is_no_certificate(tmp_path: Path) -> None:
    files = put_foreign(tmp_path)
    assert load(files.certificate) == check(files)
    files.certificate.write_text("hello")
    with pytest.raises(ApplianceError, match="not a PEM certificate"):
        check(files)
    assert load(files.certificate) is None and load(tmp_path / "none") is None
