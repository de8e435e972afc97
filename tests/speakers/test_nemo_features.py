import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.speakers.nemo_features import FeatureStream
from appliance.speakers.nemo_file import SortformerModel, load_sortformer
from appliance.speakers.sortformer_config import SortformerConfig
from appliance.speech.types import Samples
from tests.speakers.sortformers import noises

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def model(tiny_sortformer: Path) -> SortformerModel:
    return load_sortformer(tiny_sortformer, SortformerConfig())


def of_the_whole(model: SortformerModel, samples: Samples) -> torch.Tensor:
    features, length = model.preprocessor(
        input_signal=torch.from_numpy(samples)[None], length=torch.tensor([len(samples)])
    )
    return features[0, :, : int(length)].T


@pytest.mark.parametrize("length", [160, 399, 400, 16_000, 16_039, 16_040, 16_041, 16_159])
@pytest.mark.parametrize("step", [1, 7, 48])
def test_frame_by_frame_as_of_the_whole(model: SortformerModel, length: int, step: int) -> None:
    samples = noises(2.0)[:length]
    stream = FeatureStream(model.preprocessor, torch.device("cpu"))
    made, at = [], 0

    def take_all(least: int) -> None:
        nonlocal at
        while stream.ready - at >= least:
            until = min(at + step, stream.ready)
            made.append(stream.window(at, until))
            at = until

    for piece in np.split(samples, range(700, length, 700)):
        stream.feed(piece)
        take_all(step)
    stream.finish()
    take_all(1)
    expected = of_the_whole(model, samples)
    assert at == len(expected) == length // 160
    torch.testing.assert_close(torch.cat(made), expected, atol=1e-4, rtol=1e-5)


def test_a_frame_is_ready_when_its_window_is_full(model: SortformerModel) -> None:
    stream = FeatureStream(model.preprocessor, torch.device("cpu"))
    stream.feed(noises(0.1)[: 160 * 4 + 199])
    assert stream.ready == 4
    stream.feed(noises(0.1)[:1])
    assert stream.ready == 5
    stream.finish()
    assert stream.ready == 5 and stream.received_s == pytest.approx(840 / 16_000)


def test_windows_overlap_backwards(model: SortformerModel) -> None:
    samples = noises(1.0)
    stream = FeatureStream(model.preprocessor, torch.device("cpu"))
    stream.feed(samples)
    stream.finish()
    expected = of_the_whole(model, samples)
    for start, stop in ((0, 40), (30, 60), (30, 61), (52, 100)):
        torch.testing.assert_close(stream.window(start, stop), expected[start:stop], atol=1e-4, rtol=1e-5)


def test_fed_from_another_thread(model: SortformerModel) -> None:
    samples = noises(20.0)
    stream = FeatureStream(model.preprocessor, torch.device("cpu"))

    def feed() -> None:
        for piece in np.split(samples, range(100, len(samples), 100)):
            stream.feed(piece)
        stream.finish()

    feeder = threading.Thread(target=feed)
    feeder.start()
    made, at = [], 0
    while not stream.finished or stream.ready > at:
        if (until := stream.ready) > at:
            made.append(stream.window(at, until))
            at = until
    feeder.join()
    torch.testing.assert_close(torch.cat(made), of_the_whole(model, samples), atol=1e-4, rtol=1e-5)
