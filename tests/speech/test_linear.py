import pytest
import torch

from appliance.speech.linear import float_linear, int8_available, int8_linear

needs_int8 = pytest.mark.skipif(not int8_available(), reason="this PyTorch has no int8 kernels for this CPU")

WORST = 0.04
"""Bound on the relative error: weights of 8 bits over some 3 deviations add 0.7 %, activations of 7 bits 1.5 %."""


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(product: torch.Tensor, exact: torch.Tensor) -> float:
    return float((product - exact).norm() / exact.norm())


@needs_int8
@pytest.mark.parametrize("many_rows", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 250])
def test_int8_is_close_to_float(rows: int, many_rows: bool) -> None:
    weight, bias, x = random(192, 128), random(192, seed=1), random(rows, 128, seed=2)
    exact = float_linear(weight, bias)(x)
    assert error(int8_linear(weight, bias, many_rows=many_rows)(x), exact) < WORST
    assert error(int8_linear(weight, None, many_rows=many_rows)(x), exact - bias) < WORST


@needs_int8
def test_each_output_has_its_own_scale() -> None:
    """One row of large weights must not take the bits of the others."""
    weight, x = random(64, 128), random(4, 128, seed=2)
    weight[0] *= 1000
    exact, product = float_linear(weight, None)(x), int8_linear(weight, None)(x)
    assert error(product[:, 1:], exact[:, 1:]) < WORST


@needs_int8
def test_each_input_has_its_own_scale() -> None:
    """The first tokens of a prompt are a hundred times larger than text, and other streams' rows come and go."""
    weight, bias, x = random(192, 128), random(192, seed=1), random(12, 128, seed=2)
    product = int8_linear(weight, bias)
    alone = product(x)
    x[0] *= 100
    x[1] = 0
    joined = product(x)
    torch.testing.assert_close(joined[2:], alone[2:])
    torch.testing.assert_close(joined[1], bias)
    assert error(joined[0], float_linear(weight, bias)(x[0])) < WORST


@needs_int8
def test_kernels_for_few_and_for_many_rows_agree() -> None:
    weight, bias, x = random(192, 128), random(192, seed=1), random(250, 128, seed=2)
    few, many = int8_linear(weight, bias), int8_linear(weight, bias, many_rows=True)
    assert error(few(x), many(x)) < WORST


@needs_int8
def test_a_zero_weight_gives_the_bias() -> None:
    product = int8_linear(torch.zeros(64, 128), torch.full((64,), 0.5))(random(3, 128))
    torch.testing.assert_close(product, torch.full((3, 64), 0.5))


@needs_int8
def test_the_choice_of_kernels_is_put_back() -> None:
    before = torch.backends.quantized.engine
    int8_linear(random(64, 128), None, many_rows=True)
    int8_linear(random(64, 128), None)
    assert torch.backends.quantized.engine == before
