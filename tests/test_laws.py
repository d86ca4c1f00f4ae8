"""The laws over the whole registry, with Hypothesis; and that the kit catches what breaks them."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xformopt import testing
from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer, inner_optimizers
from xformopt.refused import Refused

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)
seeds = st.integers(0, 2**16)
CASES = [(name, law) for name in T.names() for law in testing.laws_of(T.get(name))]


def tensor(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("name", "law"), CASES, ids=[" ".join(case) for case in CASES])
def test_law(name: str, law: str):
    transform = T.get(name)

    @given(shape=shapes, seed=seeds)
    @settings(max_examples=6)  # made anew for each, or Hypothesis nests them a thousand deep
    def holds(shape: tuple[int, ...], seed: int) -> None:
        for dtype in testing.TOLERANCE:
            testing.laws_of(transform)[law](transform, tensor(shape, seed, dtype))

    holds()


def test_every_law_is_declared_by_some_transform():
    assert {law for name in T.names() for law in T.get(name).laws} == set(testing.DECLARED)


@pytest.mark.parametrize("name", sorted(set(inner_optimizers()) - {"sparseadam"}))
def test_inner_optimizers(name: str):
    testing.check_inner(inner_optimizers()[name])


BY_ITEM = [(n, key) for n in T.names() for key, s in T.get(n).settings.items() if s.by_item]


def applied(link: T.Link, x: Tensor, **settings: Any) -> Tensor:
    """What a link makes of `x`, as a gradient or as a parameter, in an optimizer."""
    p = x.clone().requires_grad_()
    p.grad = x.clone()
    ParamTransformingOptimizer([p], transforms=[link], lr=0.0, **settings).step()
    return p.grad if link.transform.target == "grad" else p.detach()


@pytest.mark.parametrize(("name", "key"), BY_ITEM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(shape=shapes, seed=seeds)
@settings(max_examples=10)
def test_a_tensor_sets_each_item(
    name: str, key: str, dtype: torch.dtype, shape: tuple[int, ...], seed: int
):
    x, make = tensor(shape, seed, dtype), T.get(name)
    values = torch.rand(shape[0], generator=torch.Generator().manual_seed(seed))
    one_by_one = [
        applied(make(**cast(Any, {key: float(v)})), x[i : i + 1]) for i, v in enumerate(values)
    ]
    column = values.view(-1, *[1] * (len(shape) - 1))
    columns: dict[str, Any] = {key: column}
    together = applied(make(**columns), x)
    torch.testing.assert_close(together, torch.cat(one_by_one))
    if make.items == "entry":
        settings_of_all: dict[str, Any] = {key: column.expand(shape).clone()}
        whole = make(**settings_of_all)
        for ndim in (0, 1, None):
            assert torch.equal(applied(whole, x, param_ndim=ndim), together)


def test_a_tensor_of_settings_is_checked_and_shown_short():
    with pytest.raises(Refused, match=r"must be a number >= 0, or a tensor of such, got a tensor"):
        T.linf_ball(radius=-torch.ones(2, 1))
    with pytest.raises(Refused, match=r"`min` must not exceed `max`, got min=a tensor \(2, 1\) of"):
        T.box(min=torch.ones(2, 1), max=torch.zeros(2, 1))
    with pytest.raises(Refused, match=r"`q` of `top_q` must be a number in \[0, 1\], got a tensor"):
        T.top_q(q=torch.ones(2, 1))
    wrong = T.linf_ball(radius=torch.ones(3, 1))
    assert repr(wrong) == "linf_ball(radius=a tensor (3, 1) of entries from 1 to 1)"
    with pytest.raises(RuntimeError) as raised:
        applied(wrong, torch.ones(2, 4))
    assert raised.value.__notes__ == [
        "in the transform `linf_ball`, which is linf_ball(radius=a tensor (3, 1) of entries from 1 "
        "to 1), for `param_groups[0]['params'][0]` (2, 4)"
    ]


@pytest.fixture
def registered() -> Iterator[None]:
    before = T.names()
    yield
    for name in set(T.names()) - set(before):
        T.remove(name)


@pytest.mark.usefixtures("registered")
class TestKitCatches:
    def test_what_changes_nothing(self):
        @T.transform
        def rebinds(grad: Tensor) -> None:
            grad = grad * 2

        with pytest.raises(AssertionError, match=r"`rebinds` changed nothing.*grad.copy_\(new\)"):
            testing.check_transform(rebinds)

    def test_writes_to_what_is_only_read(self):
        @T.transform
        def wipes(grad: Tensor, param: Tensor) -> None:
            param.zero_()

        with pytest.raises(AssertionError, match="it changed `param`, which it may only read"):
            testing.check_transform(wipes)

    def test_what_acts_from_a_later_call_on(self):
        @T.transform(state=("before",))
        def adds_the_last(grad: Tensor, before: Tensor) -> None:
            last = before.clone()
            before.copy_(grad)
            grad.add_(last)

        testing.check_transform(adds_the_last)
        testing.check_transform(T.lookahead)

    def test_errors_of_the_transform(self):
        @T.transform
        def fails(grad: Tensor) -> None:
            grad.add_(torch.zeros(7, 7, 7))

        with pytest.raises(AssertionError, match=r"`fails` breaks the law .*RuntimeError"):
            testing.check_transform(fails)

    def test_items_that_meet(self):
        @T.transform
        def mixes(grad: Tensor) -> None:
            grad.div_(grad.norm() + 1)

        with pytest.raises(AssertionError, match=r"`mixes` breaks the law `items_are_independent`"):
            testing.check_transform(mixes)

    def test_nan_at_zero(self):
        @T.transform
        def divides(grad: Tensor) -> None:
            grad.div_(grad.abs().amax(tuple(range(1, grad.ndim)), keepdim=True))

        with pytest.raises(AssertionError, match=r"`divides` breaks the law `zeros_stay_finite`"):
            testing.check_transform(divides)

    @pytest.mark.parametrize("law", testing.DECLARED)
    def test_a_false_declaration(self, law: Any):
        @T.transform(laws=(law,))
        def false(grad: Tensor) -> None:
            grad.mul_(2).add_(1)

        with pytest.raises(AssertionError, match=f"`false` breaks the law `{law}`"):
            testing.check_transform(false)

    def test_a_false_elementwise(self):
        @T.transform(elementwise=True)
        def sums(grad: Tensor) -> None:
            grad.copy_(grad.cumsum(-1))

        with pytest.raises(AssertionError, match=r"`sums` breaks.*`elementwise_is_elementwise`"):
            testing.check_transform(sums)

    def test_an_unseeded_generator(self):
        @T.transform
        def unseeded(grad: Tensor) -> None:
            grad.add_(torch.randn(grad.shape))

        with pytest.raises(AssertionError, match=r"`unseeded` breaks.*`seeds_repeat`"):
            testing.check_transform(unseeded)

    def test_nan_that_vanishes(self):
        @T.transform
        def hides(grad: Tensor) -> None:
            grad.nan_to_num_()

        with pytest.raises(AssertionError, match=r"`hides` breaks the law `nan_is_not_hidden`"):
            testing.check_transform(hides)

    def test_settings_of_the_default_dtype(self):
        @T.transform
        def rounds(grad: Tensor, *, high: float = 0.5, low: float = -0.3) -> None:
            grad.copy_(torch.where(grad > 0, torch.tensor(high), torch.tensor(low)))

        message = "`rounds` breaks the law `default_dtype_does_not_matter`"
        with pytest.raises(AssertionError, match=message):
            testing.check_transform(rounds)

    def test_settings_of_float32(self):
        @T.transform
        def rounds(grad: Tensor, *, by: float = 0.3) -> None:
            grad.mul_(torch.tensor(by, dtype=torch.float32).to(grad.dtype))

        with pytest.raises(AssertionError, match=r"`settings_are_not_rounded`.*`by` is rounded"):
            testing.check_transform(rounds)

    def test_what_is_computed_in_float32(self):
        @T.transform
        def forgets(grad: Tensor) -> None:
            grad.copy_((grad + 1e4) - 1e4)

        message = "`forgets` breaks the law `float32_agrees_with_float64`"
        with pytest.raises(AssertionError, match=message):
            testing.check_transform(forgets)

    def test_matrices_that_are_not_declared(self):
        def transposes(grad: Tensor) -> None:
            grad.div_(grad.abs().amax(1, keepdim=True).clamp_min(1e-6))

        message = "`transposes` breaks the law `shape_matters_for_matrices_alone`"
        with pytest.raises(AssertionError, match=message):
            testing.check_transform(T.transform(transposes))
        testing.check_transform(T.transform(transposes, items="matrix"))  # type: ignore[call-overload]

    def test_an_inner_optimizer_that_reads_all_of_its_state(self):
        class Counting(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                with torch.no_grad():
                    for p in self.param_groups[0]["params"]:
                        p.add_(len(self.param_groups[0]))
                return super().step(closure)

        with pytest.raises(AssertionError, match="wrapped, it steps otherwise than bare"):
            testing.check_inner(Counting)


def test_an_unknown_law_is_refused():
    with pytest.raises(ValueError, match=r"`laws` of `wrong` must be among .*'idempotent'"):

        @T.transform(laws=("perfect",))  # type: ignore[arg-type]
        def wrong(grad: Any) -> None: ...
