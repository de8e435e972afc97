"""Tiny translation models, made once for a test session, where what makes them is installed."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from appliance.translation.translator import Translator, look
from tests.translation.models import Kind, make_model


@pytest.fixture(scope="session")
def made_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    from tests.conftest import missing  # which names this module as a plugin

    for package in ("transformers", "sentencepiece"):
        if importlib.util.find_spec(package) is None:
            missing(f"{package} is not installed")
    return cache(lambda kind: make_model(tmp_path_factory.mktemp(kind), kind))


@pytest.fixture(scope="session")
def nllb_dir(made_model: Callable[[Kind], Path]) -> Path:
    return made_model("nllb")


@pytest.fixture(scope="session")
def nllb(nllb_dir: Path) -> Translator:
    return Translator(look(nllb_dir))
