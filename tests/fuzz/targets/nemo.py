"""A Sortformer's `.nemo` file: a tar, YAML and weights. Needs NeMo (scripts/nemo.sh gets it)."""

import io
import sys
import tarfile
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from appliance.errors import ApplianceError
from appliance.speakers.nemo_file import load_sortformer
from appliance.speakers.sortformer_config import SortformerConfig
from tests.conftest import ROOT
from tests.fuzz.material import put
from tests.fuzz.watch import documented
from tests.speakers.sortformers import CONFIG

step_s = 5.0
"""A model is made, of classes with thousands of lines."""


@cache
def _plain() -> bytes:
    """A real one, as NVIDIA's are, but small and its weights by chance."""
    if find_spec("nemo") is None:
        sys.path.append(str(ROOT / "build" / "nemo"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from nemo.collections.asr.models import SortformerEncLabelModel
        from omegaconf import OmegaConf

        model = SortformerEncLabelModel(OmegaConf.create(CONFIG)).eval()
        weights = io.BytesIO()
        torch.save(model.state_dict(), weights)
        config = OmegaConf.to_yaml(OmegaConf.create(CONFIG)).encode()
    return packed({"model_config.yaml": config, "model_weights.ckpt": weights.getvalue()})


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def seeds() -> Iterator[bytes]:
    yield _plain()


def words() -> Iterator[bytes]:
    yield from (
        b"&a ",
        b"*a",
        b"<<: ",
        b"_target_: os.mkdir",
        b"${oc.env:HOME}",
        b"${model_defaults}",
        b"null",
        b"1e999",
        b"[" * 500,
    )
    yield from (b"model_config.yaml", b"model_weights.ckpt", b"PK\3\4", b"../", b"GNU.sparse.size=9999999999\n")


def one(data: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_sortformer(put("given.nemo", data), SortformerConfig())
    except ApplianceError as error:
        documented(error, ("missing_model",))
        return False
    return True
