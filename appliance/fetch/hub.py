"""Downloading from Hugging Face with its own client. Imported only when such a source is tried."""

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.fetch.errors import SourceError
from appliance.fetch.http import CONNECT_TIMEOUT_S, HttpClient
from appliance.fetch.progress import Progress
from appliance.manifest import HuggingfaceSource

# Read by huggingface_hub when it is first imported. Plain HTTP resumes and goes through mirrors; xet does neither.
_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
}


def download(source: HuggingfaceSource, folder: Path, client: HttpClient, label: str) -> Path:
    """Download one file into ``folder``, going on where an earlier try stopped, and return its path.

    Raises:
        SourceError: the hub (or its mirror) can't be reached, or has no such file.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from huggingface_hub import errors, hf_hub_download, hf_hub_url

    for name in ("huggingface_hub", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what matters of it comes back as an exception
    url = hf_hub_url(source.repo, source.file, revision=source.revision)
    client.reach(url)  # the hub's own client tries a server that is not there for half a minute
    try:
        path = hf_hub_download(
            source.repo,
            source.file,
            revision=source.revision,
            local_dir=folder,
            etag_timeout=CONNECT_TIMEOUT_S,
            tqdm_class=_bar_class(label),
        )
    except errors.GatedRepoError as error:
        raise SourceError(f"{source.repo} wants its terms accepted first; then set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(f"no repository {source.repo} (or it is private)") from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(f"{source.repo} has no revision {source.revision}") from error
    except errors.LocalEntryNotFoundError as error:
        raise SourceError(f"{urlsplit(url).hostname} broke off or did not answer") from error
    except errors.EntryNotFoundError as error:
        raise SourceError(f"{source.repo} has no file {source.file} at {source.revision[:8]}") from error
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # of whichever httpx it is built on
        raise SourceError(f"{urlsplit(url).hostname} failed: {_first_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk
        raise SourceError(f"{urlsplit(url).hostname} failed: {_first_line(error)}") from error
    return Path(path)


def _bar_class(label: str) -> Any:
    """A stand-in for tqdm that the hub's client can make, so that its downloads look like all others here."""

    class Bar(Progress):
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            super().__init__(label, total)
            self._done = initial

        def update(self, more: int) -> None:
            self._done += more
            self.at(self._done)

    return Bar


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
