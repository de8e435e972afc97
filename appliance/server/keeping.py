"""From settings to the journal, where one is wanted."""

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.journal.bounds import Bounds
from appliance.journal.folder import Folder
from appliance.journal.writer import Journal
from appliance.server.settings import Settings, describe


def open_journal(settings: Settings, model: str) -> Journal | None:
    """The journal in the folder that is set; None where none is.

    Raises:
        ApplianceError: the folder can't be used, or is not for this service alone.
    """
    if not settings.journal:
        return None
    folder = Folder.own(settings.journal)
    bounds = Bounds.of(settings.journal_max_mb, settings.journal_max_days)
    try:
        return Journal(folder, bounds, {"model": model, "version": __version__})
    except OSError as error:
        raise ApplianceError(
            f"the journal's folder {settings.journal} can't be kept in its bounds: {error.strerror}",
            f"see what is in it, or name another folder with {describe('journal')}",
            code="journal",
        ) from error
