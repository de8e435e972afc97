"""Finding a wheel or source distribution on the configured Python indexes."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pypi_simple import (
    ACCEPT_JSON_PREFERRED,
    DistributionPackage,
    ProjectPage,
    UnparsableFilenameError,
    UnsupportedContentTypeError,
    UnsupportedRepoVersionError,
    parse_filename,
)

from appliance.fetch.errors import SourceError
from appliance.fetch.http import HttpClient
from appliance.fetch.pip_settings import PipSettings
from appliance.manifest import IndexPart

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Distribution:
    """An archive on an index: ``path`` when it lies on this machine, else ``url``.

    ``digests`` are the index's own, by algorithm; empty for a plain folder. ``size`` is in bytes, if told.
    """

    filename: str
    url: str
    path: Path | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PythonIndex:
    """The indexes and folders that pip is configured with, local ones first."""

    settings: PipSettings
    client: HttpClient
    _pages: dict[tuple[str, str], list[DistributionPackage]] = field(default_factory=dict)

    def candidates(self, part: IndexPart) -> Iterator[Distribution]:
        """Distributions that may hold a part, those on this machine first; all are of the same version.

        Raises:
            SourceError: after the last one, if a place to look could not be asked or none had it.
        """
        places = [(place, False) for place in self.settings.find_links]
        places += [(url, True) for url in self.settings.index_urls]
        places.sort(key=lambda place: not _is_local(place[0]))
        troubles: list[str] = []
        found = False
        for place, is_index in places:
            try:
                for distribution in self._listed(place, canonicalize_name(part.package), is_index=is_index):
                    if _fits(distribution, part):
                        found = True
                        yield _distribution(distribution)
            except SourceError as error:
                troubles.append(str(error))
        if not found or troubles:
            reasons = [] if found else [f"no {part.archive} of {part.package} {part.version} on the configured index"]
            raise SourceError("; ".join(dict.fromkeys(reasons + troubles)))

    def _listed(self, place: str, project: str, *, is_index: bool) -> list[DistributionPackage]:
        if (place, project) not in self._pages:
            self._pages[place, project] = self._list(place, project, is_index=is_index)
        return self._pages[place, project]

    def _list(self, place: str, project: str, *, is_index: bool) -> list[DistributionPackage]:
        if _is_local(place):
            path = local_path(place)
            if is_index:
                page = path / project / "index.html"
                return _parse_html(page, project) if page.is_file() else []
            if path.is_dir():
                return [found for file in sorted(path.iterdir()) if (found := _from_file(file, project))]
            return _parse_html(path, project) if path.is_file() else []
        url = f"{place.rstrip('/')}/{project}/" if is_index else place
        try:
            response = self.client.request("GET", url, {"Accept": ACCEPT_JSON_PREFERRED})
            if response.status_code == 404:
                return []
            if response.status_code != 200:
                host = urlsplit(url).hostname
                raise SourceError(f"the index {host} answered {response.status_code} {response.reason}")
            return ProjectPage.from_response(response, project).packages
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError, ValueError) as error:
            raise SourceError(f"the index {urlsplit(url).hostname} gave a page that can't be read") from error


def _is_local(place: str) -> bool:
    return urlsplit(place).scheme not in ("http", "https")


def local_path(place: str) -> Path:
    """The path of a ``file://`` address or of a plain path."""
    parts = urlsplit(place)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(place).expanduser()


def _parse_html(page: Path, project: str) -> list[DistributionPackage]:
    base_url = page.resolve().parent.as_uri() + "/"
    return ProjectPage.from_html(project, page.read_bytes(), base_url=base_url).packages


def _from_file(file: Path, project: str) -> DistributionPackage | None:
    try:
        name, version, kind = parse_filename(file.name, project)
    except UnparsableFilenameError:
        return None
    if canonicalize_name(name) != project:
        return None
    return DistributionPackage(
        filename=file.name,
        url=file.resolve().as_uri(),
        project=name,
        version=version,
        package_type=kind,
        digests={},
        requires_python=None,
        has_sig=None,
    )


def _fits(found: DistributionPackage, part: IndexPart) -> bool:
    if found.version is None or found.package_type != part.archive:
        return False
    if part.archive == "wheel" and not found.filename.endswith(f"-{part.tag}.whl"):
        return False  # a wheel for another platform is another file
    try:
        return Version(found.version) == Version(part.version)
    except InvalidVersion:
        return found.version == part.version


def _distribution(found: DistributionPackage) -> Distribution:
    is_file = urlsplit(found.url).scheme == "file"
    path = Path(unquote(urlsplit(found.url).path)) if is_file else None
    return Distribution(found.filename, found.url, path, found.digests, found.size)
