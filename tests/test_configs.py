"""The configs: every node composes, round-trips and steps, and other projects use them."""

import copy
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra_zen import instantiate
from omegaconf import OmegaConf

from experiments.cli.launch import main_options
from experiments.cli.store import fill_store
from xformopt import recipes
from xformopt import transforms as T
from xformopt.configs import make_optimizer, make_store
from xformopt.optim import ParamTransformingOptimizer, Route, RoutedOptimizer, inner_optimizers
from xformopt.remarks import remarks

ROOT = Path(__file__).parent.parent
VERSION: dict[str, Any] = {k: v for k, v in main_options().items() if k == "version_base"}
OPTIONS = (
    'version_base="1.3"'
    if VERSION
    else 'execution_whitelist=["torch.*", "xformopt.*", "hydra_zen.*"]'
)
pytestmark = pytest.mark.usefixtures("clean_hydra")


def composed(*overrides: str) -> Any:
    """Compose the launcher's config, and send it through YAML and back."""
    fill_store()
    with initialize_config_dir(str(ROOT / "conf"), **VERSION):
        cfg = compose("config", overrides=list(overrides))
    return OmegaConf.create(OmegaConf.to_yaml(cfg))


def trained(optim: Any, shape: tuple[int, ...] = (3, 4)) -> torch.Tensor:
    x = torch.full(shape, 0.5, requires_grad=True)
    built = instantiate(optim)([x])
    for _ in range(3):

        def closure() -> torch.Tensor:
            built.zero_grad()
            loss = ((x - 1) ** 2).sum()
            loss.backward()
            return loss

        built.step(closure)
    return x.detach()


def two_layers() -> torch.nn.Module:
    """Return a model whose first layer is hidden and whose second is its head."""
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))


@pytest.mark.parametrize("name", sorted(set(inner_optimizers()) - {"sparseadam"}))
def test_every_inner_optimizer(name: str):
    cfg = composed(f"optim/inner={name}", "optim.inner.lr=0.01", "optim/transforms=[]")
    x = torch.full((3, 4), 0.5, requires_grad=True)
    build: Any = inner_optimizers()[name]
    native = build([x], lr=0.01)
    for _ in range(3):

        def closure() -> Any:
            native.zero_grad()
            loss = ((x - 1) ** 2).sum()
            loss.backward()
            return loss

        native.step(closure)
    assert torch.equal(trained(cfg.optim), x)


def test_sparse_adam():
    optim = instantiate(composed("optim/inner=sparseadam", "optim/transforms=[sign]").optim)
    table = torch.nn.Embedding(4, 2, sparse=True)
    before = table.weight.detach().clone()
    built = optim(table.parameters())
    table(torch.tensor([2])).sum().backward()
    built.step()
    changed = (table.weight != before).any(1)
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize("name", T.names())
def test_every_transform(name: str):
    whole = T.get(name).scope == "optimizer"
    ndim = "inherit" if whole else 1
    cfg = composed(f"optim/transforms=[{name}]", f"optim.transforms.{name}.param_ndim={ndim}")
    built = instantiate(cfg.optim)([torch.zeros(2, 2)])
    assert built.transforms[name].transform is T.get(name)
    assert built.param_groups[0][f"{name}.param_ndim"] == ndim
    assert trained(cfg.optim).isfinite().all()


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe(name: str):
    """From the command line as from Python: the same steps, and what it is for."""
    cfg = composed(f"optim={name}")
    assert cfg.optim.purpose == recipes.get(name).purpose
    models = [two_layers() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optims = [
        instantiate(cfg.optim)(models[0]),
        recipes.build(name, models[1].named_parameters()),
    ]
    x = torch.randn(5, 4)
    for model, optim in zip(models, optims, strict=True):
        for _ in range(3):
            optim.zero_grad()
            model(x).square().sum().backward()
            optim.step()
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(ours, theirs)


def test_a_recipe_takes_overrides():
    cfg = composed("optim=muon", "optim.grad_scale=0.5", "optim.grad_bias=0.01")
    optim = instantiate(cfg.optim)(two_layers())
    assert [g["grad_scale"] for g in optim.param_groups] == [0.5, 0.5, 0.5]
    cfg = composed("optim=lion", "optim.transforms.lion_mix.beta1=0.8", "optim.inner.lr=1.0")
    optim = instantiate(cfg.optim)([torch.zeros(2)])
    assert optim.param_groups[0]["lion_mix.beta1"] == 0.8
    assert optim.param_groups[0]["lr"] == 1.0
    cfg = composed("optim=muon", "optim.routes.hidden.transforms.orthogonalize.steps=3")
    groups = instantiate(cfg.optim)(two_layers()).param_groups
    (hidden,) = [g for g in groups if g["route"] == "hidden"]
    assert hidden["orthogonalize.steps"] == 3
    assert hidden["momentum"] == 0.95


def test_a_composition_leaves_nothing_to_the_next():
    fill_store()
    overrides = ["optim/transforms=[top_q]", "optim.transforms.top_q.q=0.1", "optim.inner.lr=9"]
    with initialize_config_dir(str(ROOT / "conf"), **VERSION):
        first = compose("config")
        other = compose("config", overrides=overrides)
        other.optim.inner.eps = 7.0
        assert compose("config") == first
        assert compose("config", overrides=overrides[:1]).optim.transforms.top_q.q == 0.9


def test_a_copy_of_the_store_has_groups_of_its_own():
    fill_store()
    store = ConfigStore.instance()
    before = copy.deepcopy(store.repo)
    store.store("mine", {"x": 1}, group="optim")
    store.store("other", {"x": 1})
    assert "mine.yaml" not in before["optim"]
    assert "other.yaml" not in before
    store.repo = before


def test_routes_from_yaml():
    routes = "{matrices: {ndim: 2, lr: 0.5}, rest: {match: 're:.*bias', freeze: true}}"
    optim = instantiate(composed(f"++optim.routes={routes}").optim)
    layer = torch.nn.Linear(4, 3)
    built = optim(layer.named_parameters())
    assert [g["lr"] for g in built.param_groups] == [0.5]
    assert not layer.bias.requires_grad


APP = """
import sys

import hydra
import torch
from hydra_zen import instantiate
from xformopt.configs import add_to_hydra_store

add_to_hydra_store()


@hydra.main(config_path="conf", config_name="app", OPTIONS)
def app(cfg):
    optimizer = instantiate(cfg.optim)(torch.nn.Linear(2, 2))
    group = optimizer.param_groups[0]
    print("said:", *optimizer.transforms, group.get("my_top_q.q"), group["lr"])


app()
"""


@pytest.fixture
def users_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The YAML files of the guide beside an app of a user's, to be run with arguments."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "xformopt/README.md").read_text(), re.DOTALL)
    for block in blocks:
        (name,) = re.findall(r"# (conf/\S+\.yaml)", block)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(block)
    (tmp_path / "app.py").write_text(APP.replace("OPTIONS", OPTIONS))

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
        runpy.run_path(str(tmp_path / "app.py"), run_name="__main__")

    return run


USES = {
    "": ["my_top_q sign 0.5 0.01"],
    "optim.transforms.my_top_q.q=0.3 optim.inner.lr=0.2": ["my_top_q sign 0.3 0.2"],
    "optim/transforms=[clip_norm]": ["clip_norm None 0.01"],
    "optim/transforms=[]": ["None 0.01"],
    "optim/inner=sgd": ["my_top_q sign 0.5 0.001"],
    "optim=lion": ["lion_mix sign weight_decay None 0.0001"],
    "optim=lion optim/transforms=[my_top_q] optim/inner=my_adamw": ["my_top_q 0.5 0.01"],
    "-m optim=mine,lion optim/transforms=[my_top_q],[]": [
        "my_top_q 0.5 0.01", "None 0.01", "my_top_q 0.5 0.0001", "None 0.0001",
    ],
}  # fmt: skip


@pytest.mark.parametrize("arguments", USES)
def test_the_yaml_of_the_readme(users_app: Any, capsys: Any, arguments: str):
    """A user's own options and any later choice of chain, inner optimizer or recipe go together."""
    users_app(*arguments.split())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("said:")]
    assert lines == [f"said: {line}" for line in USES[arguments]]


def test_settings_below_a_chain_that_does_not_name_them(users_app: Any, capsys: Any):
    """The way out is in the error."""
    with pytest.raises(SystemExit, match="1"):
        users_app("+optim.transforms.top_q={q:0.5}")
    said = capsys.readouterr().err
    assert "must be a link, got {'q': 0.5}: settings of a link that is not in" in said
    assert "conf/optim/transforms/mine.yaml" in said


@pytest.mark.parametrize("name", ["lion", "lamb", "sgd_momentum"])
def test_no_setting_of_a_recipe_outlives_its_parts(name: str):
    cfg = composed(f"optim={name}", "optim/transforms=[top_q]", "optim/inner=adam")
    optim = instantiate(cfg.optim)([torch.zeros(2)])
    assert (list(optim.transforms), optim.param_groups[0]["lr"]) == (["top_q"], 1e-3)


class TestNothingIsUnread:
    """What stands beside routes that all have their own is refused, with the key that acts."""

    OWN: ClassVar[dict[str, Any]] = {"inner": torch.optim.SGD, "transforms": {"sign": T.sign()}}

    def build(self, routes: dict[str, Any], **beside: Any) -> Any:
        return make_optimizer(torch.nn.Linear(4, 3), routes=routes, **beside)

    def test_a_node_of_a_recipe_with_routes_has_no_such_keys(self):
        for name in (n for n in recipes.names() if recipes.get(n).routes):
            node = composed(f"optim={name}").optim
            assert not {"inner", "transforms", "param_ndim"} & set(node)

    @pytest.mark.parametrize(
        ("beside", "said"),
        [
            (
                {"inner": torch.optim.Adam},
                r"`inner` stands .*set `routes.all.inner`, or `lr_scale`",
            ),
            ({"transforms": {"sign": T.sign()}}, r"`transforms` stands .*set `routes.all.transf"),
            ({"param_ndim": 0}, r"`param_ndim=0` stands .*set `routes.all.param_ndim`"),
        ],
    )
    def test_beside_routes_that_all_have_their_own(self, beside: dict[str, Any], said: str):
        with pytest.raises(ValueError, match=said):
            self.build({"still": {"ndim": 1, "freeze": True}, "all": self.OWN}, **beside)

    def test_what_one_route_reads_may_stand_there(self):
        mixed = {"matrices": {"ndim": 2, **self.OWN}, "rest": {}}
        optim = self.build(
            mixed, inner=torch.optim.Adam, transforms={"n": T.l2_norm()}, param_ndim=1
        )
        assert [type(o.inner_opt).__name__ for o in optim.optimizers.values()] == ["SGD", "Adam"]
        total = {"clip_total_norm": T.clip_total_norm(max_norm=1.0)}
        assert list(self.build({"all": self.OWN}, transforms=total).common) == [*total]

    def test_without_any_inner_optimizer(self):
        with pytest.raises(ValueError, match="route `all` has no `inner`, and none stands beside"):
            self.build({"all": {}})
        with pytest.raises(ValueError, match=r"`inner` must be an optimizer class .* got None"):
            make_optimizer([torch.zeros(1)])

    def test_routes_alone(self):
        inner = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"
        cfg = composed("optim=routed", f"optim.routes={{all: {{inner: {inner}}}}}")
        (group,) = instantiate(cfg.optim)(torch.nn.Linear(2, 2)).param_groups
        assert (group["lr"], group["route"]) == (0.1, "all")


def test_a_link_that_is_null_is_left_out():
    cfg = composed("optim.transforms.clip_norm=null")
    assert not instantiate(cfg.optim)([torch.zeros(2)]).transforms
    cfg = composed("optim=muon", "optim.routes.hidden.transforms.weight_decay=null")
    chain = instantiate(cfg.optim)(two_layers()).optimizers["hidden"].transforms
    assert list(chain) == ["ema", "orthogonalize"]


def test_settings_of_a_link_that_is_not_in_the_chain():
    wrong: Any = {"top_q": {"q": 0.5}}
    said = (
        r"`transforms.top_q` must be a link, got .*name it there.*conf/optim/transforms/mine.yaml"
    )
    with pytest.raises(TypeError, match=said):
        make_optimizer([torch.zeros(1)], inner=torch.optim.SGD, transforms=wrong)


class TestRemarks:
    def of(self, *chain: Any, params: Any = None, **settings: Any) -> list[str]:
        optim = ParamTransformingOptimizer(
            params or torch.nn.Linear(3, 2).named_parameters(),
            transforms=chain,
            strict_ndim=False,
            **settings,
        )
        return remarks(optim)

    def test_nothing_depends_on_param_ndim(self):
        (line,) = self.of(T.sign(), T.l2_norm(param_ndim=1), param_ndim=2)
        assert line.startswith("`param_ndim=2`: nothing depends on it, since every link acts entry")
        assert self.of(param_ndim=0) == [
            "`param_ndim=0`: nothing depends on it, since there is no link"
        ]
        assert self.of(T.sign()) == self.of(T.l2_norm(), param_ndim=1) == []

    def test_parameters_taken_whole(self):
        assert self.of(T.l2_norm(), param_ndim=2) == [
            "`param_ndim=2`: taken whole, having fewer dimensions: bias"
        ]
        (line,) = self.of(T.l2_norm(), param_ndim=7, params=[torch.zeros(2)] * 1)
        assert line.endswith("fewer dimensions: a tensor (2,)")

    def test_hooks_may_depend_on_it(self):
        class Hooked(ParamTransformingOptimizer):
            def _pre_step_transform_(self, param: torch.Tensor, optim_group: Any) -> None: ...

        assert remarks(Hooked([torch.zeros(2)], param_ndim=1)) == []

    def test_of_routes(self):
        routes = {"all": Route(transforms=[T.sign()], param_ndim=0)}
        (line,) = remarks(RoutedOptimizer(torch.nn.Linear(3, 2), routes))
        assert line.startswith("route `all`: `param_ndim=0`: nothing depends on it")

    @pytest.mark.parametrize("name", [n for n in recipes.names() if recipes.get(n).param_ndim != 2])
    def test_recipes_as_they_are_leave_nothing_to_say(self, name: str):
        assert remarks(recipes.build(name, two_layers())) == []


def test_routes_from_the_command_line():
    cfg = composed("optim.routes={matrices:{ndim:'>=2',lr:0.02},rest:{freeze:true}}")
    layer = torch.nn.Linear(3, 2)
    optim = instantiate(cfg.optim)(layer.named_parameters())
    assert [(g["route"], g["lr"]) for g in optim.param_groups] == [("matrices", 0.02)]
    assert not layer.bias.requires_grad


@pytest.mark.parametrize("route", ["embeddings", "hidden"])
def test_a_route_of_a_recipe_is_frozen_by_one_key(route: str):
    cfg = composed("optim=muon", f"optim.routes.{route}.freeze=true")
    model = torch.nn.Sequential(
        torch.nn.Embedding(3, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    )
    optim = instantiate(cfg.optim)(model)
    frozen = {"embeddings": "0.weight", "hidden": "1.weight"}[route]
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == [frozen]
    assert route not in {group["route"] for group in optim.param_groups}


def test_schedules_from_yaml():
    schedule = "{_target_: xformopt.schedules.linear, start: 0.0, end: 0.5, steps: 2}"
    cfg = composed("optim/transforms=[top_q]", f"optim.transforms.top_q.q={schedule}")
    x = torch.zeros(1, 4)
    optim = instantiate(cfg.optim)([x])
    kept = []
    for _ in range(3):
        x.grad = torch.arange(1.0, 5.0).view(1, 4)
        optim.step()
        kept.append(int(x.grad.count_nonzero()))
    assert kept == [4, 3, 2]


def test_a_list_keeps_its_order_and_takes_one_twice():
    cfg = composed(
        "optim/transforms=[top_q,sign]",
        "+optim/transforms@optim.transforms.again=top_q",
        "optim.transforms.top_q.q=0.7",
        "optim.transforms.again.q=0.2",
    )
    chain = instantiate(cfg.optim)([torch.zeros(2)]).transforms
    assert list(chain) == ["top_q", "sign", "again"]
    assert (chain["top_q"].settings["q"], chain["again"].settings["q"]) == (0.7, 0.2)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optim.param_ndim=1", "param_ndim", 1),
        ("optim.param_ndim=null", "param_ndim", None),
        ("optim.grad_scale=0.5", "grad_scale", 0.5),
        ("optim.grad_bias=0.01", "grad_bias", 0.01),
        ("optim.inner.lr=3e-3", "lr", 0.003),
    ],
)
def test_single_leaves(override: str, key: str, value: Any):
    (group,) = instantiate(composed(override).optim)([torch.zeros(2)]).param_groups
    assert group[key] == value


def test_any_importable_class_is_an_inner_optimizer():
    cfg = composed(
        "optim.inner._target_=xformopt.optim.FrankWolfe", "+optim.inner.lmo_scaling_factor=2.0"
    )
    built = instantiate(cfg.optim)([torch.zeros(2)])
    assert type(built.inner_opt).__name__ == "FrankWolfe"
    assert built.param_groups[0]["lmo_scaling_factor"] == 2.0


def test_signatures_are_whole():
    node = make_store()["optim/inner", "adamw"]
    assert (node.lr, node.weight_decay, node.fused) == (1e-3, 1e-2, None)
    node = make_store()["optim", "default"]
    assert (node.param_ndim, node.grad_scale, node.grad_bias) == (-1, 1.0, 0.0)


PROJECT = """
import torch
import hydra
from hydra_zen import make_config, store, zen
from xformopt.configs import add_to_hydra_store

add_to_hydra_store()
store(make_config("optim", steps=50, hydra_defaults=["_self_", {"optim": "default"}]), name="mine")
store.add_to_hydra_store()


def fit(steps, optim):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    optimizer = optim(layer.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((layer(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    names = [type(optimizer.inner_opt).__name__, *optimizer.transforms]
    print(*names, optimizer.param_groups[0]["top_q.q"], f"{loss.item():.6f}")


if __name__ == "__main__":
    hydra.main(config_path=None, config_name="mine", OPTIONS)(zen(fit))()
"""


def test_another_project_composes_overrides_and_trains(tmp_path: Path):
    (tmp_path / "project.py").write_text(PROJECT.replace("OPTIONS", OPTIONS))
    overrides = ["optim/transforms=[top_q]", "optim.transforms.top_q.q=0.3", "steps=200"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "project.py", "optim.inner.lr=0.1", *overrides],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    inner, chain, q, loss = done.stdout.split()
    assert (inner, chain, q) == ("Adam", "top_q", "0.3")
    assert float(loss) < 1e-3
