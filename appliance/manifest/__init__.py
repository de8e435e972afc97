"""What can be fetched, and from where: `models/manifest.yaml` as typed, checked objects."""

from appliance.manifest.items import Asset, Item, Manifest, Recording, Tokenizer, WhisperModel
from appliance.manifest.loading import DEFAULT_MANIFEST, load_manifest
from appliance.manifest.sources import (
    HuggingfaceSource,
    IndexPart,
    IndexSource,
    LocalSource,
    OpenaiSource,
    Source,
)

__all__ = [
    "DEFAULT_MANIFEST",
    "Asset",
    "HuggingfaceSource",
    "IndexPart",
    "IndexSource",
    "Item",
    "LocalSource",
    "Manifest",
    "OpenaiSource",
    "Recording",
    "Source",
    "Tokenizer",
    "WhisperModel",
    "load_manifest",
]
