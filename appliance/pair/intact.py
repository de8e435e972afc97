"""Whether the files of a baked pair are still those that were baked, as ``pair.json`` beside them says."""

from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair, find_record
from appliance.pair.record import PairRecord


class DamagedModel(ApplianceError):
    """A file changed since it was baked. Starting again would not help, and the status says so to who would try."""

    exit_status = 70
    """As EX_SOFTWARE of sysexits.h; units name it (RestartPreventExitStatus)."""


def record_of(pair: Pair) -> PairRecord | None:
    """What was baked; None for a pair of a site's own.

    Raises:
        ApplianceError: there is a record that can't be read.
    """
    return find_record(pair.encoder_dir, pair.decoder_file.parent)


def damage(pair: Pair, record: PairRecord, *, deep: bool) -> list[str]:
    """What is wrong with files of the pair, one line each; ``deep``: by their content, not by their size alone."""
    folder = pair.encoder_dir.parent
    wrong = []
    for row in record.files:
        file = folder / row.path
        try:
            found = file.stat().st_size
            if found != row.size:
                wrong.append(f"{file} has {found} bytes instead of {row.size}")
            elif deep and sha256_file(file) != row.sha256:
                wrong.append(f"{file} has another content than was baked")
        except OSError as error:
            wrong.append(f"{file} can't be read: {error.strerror}")
    return wrong


def check_intact(pair: Pair) -> None:
    """Read all files of the pair and compare them with what was baked; a pair of a site's own is not compared.

    Raises:
        DamagedModel: naming the first file that differs.
        ApplianceError: ``pair.json`` can't be read.
    """
    record = record_of(pair)
    wrong = damage(pair, record, deep=True) if record else []
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DamagedModel(
            f"the model is damaged: {wrong[0]}{more}",
            "install the bundle again, or load the image again; a model beside it: copy or bake it again",
            code="damaged_model",
        )
