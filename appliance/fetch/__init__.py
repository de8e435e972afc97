"""Obtaining the files of the manifest. The only part of the appliance that opens outbound connections.

Nothing here imports a network library before a source that needs one is tried, so that reuse and
``--offline`` can't reach out even by accident.
"""

from appliance.fetch.fetcher import Artifact, Fetcher, fetch_item

__all__ = ["Artifact", "Fetcher", "fetch_item"]
