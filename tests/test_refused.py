"""What is refused says which key of a config it is about, by fields."""

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.making import make_optimizer
from xformopt.optim import FrankWolfe, Route, RoutedOptimizer
from xformopt.refused import Refused, RefusedType
from xformopt.schedules import linear

adam: Any = partial(partial, Adam)
sgd: Any = partial(partial, SGD)
link: Any = T


def refused(**config: Any) -> Refused:
    """Return what a config of the group `optim` is refused with."""
    config.setdefault("inner", Adam)
    with pytest.raises(Refused, match=r".") as caught:
        make_optimizer(torch.nn.Linear(3, 2), **config)
    return caught.value


HIDDEN = {"match": "*weight", "inner": Adam}
REST: dict[str, Any] = {"inner": SGD}


@pytest.mark.parametrize(
    ("config", "path", "of"),
    [
        ({"inner": adam(lr=-1)}, "inner.lr", "Adam"),
        ({"inner": adam(lr="high")}, "inner.lr", "Adam"),
        ({"inner": adam(betas=(0.9, 2.0))}, "inner.betas", "Adam"),
        ({"inner": adam(momentm=0.9)}, "inner.momentm", "Adam"),
        ({"inner": partial(FrankWolfe, lmo_scaling_factor=-1)}, "inner.lmo_scaling_factor", ""),
        ({"inner": dict}, "inner", ""),
        ({"inner": None}, "inner", ""),
        ({"inner": adam(lr=linear(0.1, -0.1, steps=5))}, "inner.lr", "Adam"),
        ({"inner": sgd(momentum=None), "transforms": {"m": T.momentum()}},
         "inner.momentum", "SGD"),
        ({"inner": sgd(nesterov="high"), "transforms": {"m": T.momentum()}},
         "inner.nesterov", "SGD"),
        ({"param_ndim": "one"}, "param_ndim", ""),
        ({"param_ndim": 3, "strict_ndim": True}, "param_ndim", ""),
        ({"grad_scale": "high"}, "grad_scale", ""),
        ({"grad_bias": float("inf")}, "grad_bias", ""),
        ({"lr_scale": -1}, "lr_scale", ""),
        ({"compile": "yes"}, "compile", ""),
        ({"transforms": {"top_q": {"q": 0.5}}}, "transforms.top_q", ""),
        ({"transforms": {"top_q": 3}}, "transforms.top_q", ""),
        ({"transforms": {"mine": T.sign(param_ndim=3)}, "strict_ndim": True},
         "transforms.mine.param_ndim", ""),
        ({"routes": 3}, "routes", ""),
        ({"routes": {"rest": 3}}, "routes.rest", ""),
        ({"routes": {"rest": {"ndim": ">"}}}, "routes.rest.ndim", "a route"),
        ({"routes": {"rest": {"role": "foot"}}}, "routes.rest.role", "a route"),
        ({"routes": {"rest": {"freeze": True, "lr": 1}}}, "routes.rest.lr", "a route"),
        ({"routes": {"rest": {**REST, "lr": -1}}, "inner": None}, "routes.rest.lr", "SGD"),
        ({"routes": {"rest": {**REST, "lrr": 1}}, "inner": None}, "routes.rest.lrr", ""),
        ({"routes": {"hidden": {**HIDDEN, "inner": adam(lr=-1)}, "rest": REST},
          "inner": None}, "routes.hidden.inner.lr", "Adam"),
        ({"routes": {"hidden": {"match": "*weight"}, "rest": REST}, "inner": adam(lr=-1)},
         "inner.lr", "Adam"),
        ({"routes": {"hidden": HIDDEN, "rest": {}}, "inner": None}, "routes.rest.inner", ""),
        ({"routes": {"hidden": HIDDEN, "rest": REST}}, "inner", ""),
        ({"routes": {"rest": {**REST, "param_ndim": "one"}}, "inner": None},
         "routes.rest.param_ndim", ""),
        ({"routes": {"rest": {}}, "param_ndim": "one", "transforms": {"l2_norm": T.l2_norm()}},
         "param_ndim", ""),
        ({"routes": {"rest": {"inner": torch.optim.LBFGS}}, "inner": None},
         "routes.rest.inner", ""),
    ],
)  # fmt: skip
def test_the_key_of_the_config(config: dict[str, Any], path: str, of: str):
    error = refused(**config)
    assert (error.path, error.of) == (path, of)
    assert error.under("optim").key == f"optim.{path}"


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: link.top_q(q=2), "transforms.top_q.q"),
        (lambda: link.top_q(q="half"), "transforms.top_q.q"),
        (lambda: link.top_q(quantile=0.5), "transforms.top_q.quantile"),
        (lambda: link.top_q(q=linear(0.5, 2.0, steps=3)), "transforms.top_q.q"),
        (lambda: link.clamp(min=2.0, max=1.0), "transforms.clamp"),
        (lambda: link.sign(param_ndim="one"), "transforms.sign.param_ndim"),
        (lambda: link.clip_total_norm(param_ndim=1), "transforms.clip_total_norm.param_ndim"),
        (lambda: link.sign(when="never"), "transforms.sign.when"),
        (lambda: link.sign(when="post"), "transforms.sign.when"),
        (lambda: link.ema(state_dtype="int8"), "transforms.ema.state_dtype"),
        (lambda: link.sign(state_dtype="float32"), "transforms.sign.state_dtype"),
    ],
)
def test_the_key_of_a_setting_of_a_link(make: Any, path: str):
    with pytest.raises(Refused, match=r".") as caught:
        make()
    assert caught.value.path == path


def test_the_value_the_rule_and_the_way_out_are_fields():
    error = refused(inner=adam(lr=-1))
    assert (error.rule, error.value, error.way_out) == ("a number >= 0", -1, "")
    assert str(error) == "`lr` of Adam must be a number >= 0, got -1"
    error = refused(inner=adam(weight_deca=1))
    assert (error.value, error.way_out[:12]) == (1, "did you mean")
    assert str(error).startswith("Adam has no setting `weight_deca` (=1): did you mean")


def test_a_wrong_type_is_a_type_error_too():
    assert isinstance(refused(inner=adam(lr="high")), TypeError)
    assert not isinstance(refused(inner=adam(lr=-1)), TypeError)


def test_a_key_of_a_group_has_its_link_or_the_inner_optimizer():
    optim = ParamTransformingOptimizer([torch.zeros(2)], transforms=[T.top_q(q=0.5)], lr=1.0)
    for group, path in (({"top_q.q": 2.0}, "transforms.top_q.q"), ({"lr": -1}, "inner.lr")):
        with pytest.raises(Refused, match="must be a number") as caught:
            optim.add_param_group({"params": [torch.zeros(3)], **group})
        assert caught.value.path == path


def test_what_a_foreign_optimizer_refuses_is_of_the_inner_one():
    class Picky(SGD):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            raise ValueError("not today")

    error = refused(inner=Picky)
    assert (error.path, type(error)) == ("inner", Refused)
    assert str(error) == "Picky() cannot be built: not today"


def test_what_is_wrong_with_a_route_is_said_of_it():
    with pytest.raises(Refused, match=r"^route `all`: `lr` of SGD must be a number") as caught:
        RoutedOptimizer(torch.nn.Linear(2, 1), {"all": Route(inner=sgd(lr=-1))})
    assert caught.value.path == "routes.all.inner.lr"


@pytest.mark.parametrize("kind", [Refused, RefusedType])
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_it_is_copied_and_pickled(kind: type[Refused], again: Any):
    for error in (
        kind("lr", "a number", [1], "set it", of="Adam", part="inner"),
        kind("lr", of="Adam", says="nothing reads `lr`").under("optim"),
        kind("wrong"),
    ):
        error.add_note("a note")
        twin = again(error)
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_the_key_under_a_prefix():
    error = Refused("steps", "an int >= 1 or null", -4, "leave it out", part="trainer")
    assert str(error) == "`steps` must be an int >= 1 or null, got -4; leave it out"
    placed = error.under("job").under("all")
    assert placed.path == "all.job.trainer.steps"
    assert str(placed) == f"`all.job.trainer.steps`{str(error).removeprefix('`steps`')}"
    assert error.path == "trainer.steps"
    said = Refused("lr", says="nothing reads it").under("inner").under("optim")
    assert str(said) == "`optim.inner.lr`: nothing reads it"
    assert Refused("model.hidden", "an int", "x").under("model").path == "model.hidden"


def test_a_sentence_alone_is_of_no_key():
    error = Refused("it is wrong")
    assert (error.key, error.path, str(error)) == ("", "", "it is wrong")
    assert str(error.under("optim")) == "`optim`: it is wrong"
