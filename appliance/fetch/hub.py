"""Downloading from Hugging Face with its own client. Imported only when such a source is tried."""

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests

from appliance.fetch.errors import SourceError
from appliance.fetch.http import CONNECT_TIMEOUT_S, HttpClient, connection_failure
from appliance.manifest import HuggingfaceSource

# Read by huggingface_hub when it is first imported. Plain HTTP resumes and goes through mirrors; xet does neither.
_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
}


def download(source: HuggingfaceSource, folder: Path, client: HttpClient) -> Path:
    """Download one file into ``folder``, going on where an earlier try stopped, and return its path.

    Raises:
        SourceError: the hub (or its mirror) can't be reached, or has no such file.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from huggingface_hub import errors, hf_hub_download, hf_hub_url

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    url = hf_hub_url(source.repo, source.file, revision=source.revision)
    try:  # the hub's client tries a server that is not there for half a minute
        client.request("HEAD", url).close()
    except requests.exceptions.RequestException as error:
        raise SourceError(connection_failure(error)) from error
    try:
        path = hf_hub_download(
            source.repo,
            source.file,
            revision=source.revision,
            local_dir=folder,
            etag_timeout=CONNECT_TIMEOUT_S,
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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
