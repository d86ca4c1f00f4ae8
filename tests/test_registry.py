"""The registry: settings, links, third parties, and the promise that one file is enough."""

import copy
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra_zen import instantiate
from torch import Tensor

from xformopt import testing
from xformopt import transforms as T
from xformopt.__main__ import main
from xformopt.configs import make_store
from xformopt.table import transform_rows

THROWAWAY = """
from torch import Generator, Tensor
from xformopt.transforms import transform
from xformopt.transforms.settings import Fraction

@transform(laws=("odd",))
def throwaway_shrink(grad: Tensor, *, by: Fraction = 0.25, generator: Generator | None = None):
    \"\"\"Shrink each entry.

    g ← (1 - by) g

    Source: nobody 2026.
    \"\"\"
    grad.mul_(1 - by)
"""


@pytest.fixture
def throwaway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[T.Transform]:
    (tmp_path / "throwaway_module.py").write_text(THROWAWAY)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("throwaway_module").throwaway_shrink
    T.remove("throwaway_shrink")
    del sys.modules["throwaway_module"]


class TestOneFileIsEnough:
    """A transform that a test registers has its config, its row and its law cases at once."""

    def test_config(self, throwaway: T.Transform):
        node = make_store()["optim/transforms", "throwaway_shrink"]
        assert node.by == 0.25
        link = instantiate(node, by=0.5, param_ndim=1)
        assert repr(link) == "throwaway_shrink(by=0.5, param_ndim=1)"

    def test_row(
        self, throwaway: T.Transform, capsys: pytest.CaptureFixture[str], monkeypatch: Any
    ):
        monkeypatch.setattr(sys, "argv", ["xformopt"])
        main()
        (row,) = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("throwaway")
        ]
        assert row.split() == ["throwaway_shrink", "pre", "by=0.25", "Shrink", "each", "entry."]

    def test_laws(self, throwaway: T.Transform):
        assert "odd" in testing.laws_of(throwaway)
        testing.check_transform(throwaway)
        assert testing.apply(throwaway, torch.ones(1, 1)).item() == 0.75


class TestTransform:
    def test_no_module_hides_a_transform(self):
        assert all(getattr(T, name) is T.get(name) for name in T.names())

    def test_names_that_hydra_reads_otherwise_are_refused(self):
        def a_global_one(grad: Tensor) -> None: ...

        with pytest.raises(ValueError, match="Hydra reads `_global_` in a name"):
            T.transform(a_global_one)

    @pytest.mark.parametrize("hint", [int | float, list[float], tuple[int, int], None])
    def test_settings_must_be_typed(self, hint: Any):
        def wrong(grad: Tensor, *, amount=1.0) -> None: ...

        if hint is not None:
            wrong.__annotations__["amount"] = hint
        with pytest.raises(TypeError, match="setting `amount` of `wrong` must be annotated"):
            T.transform(wrong)

    def test_a_multi_tensor_form_sees_no_items(self):
        def wrong(grad: Tensor) -> None: ...

        with pytest.raises(ValueError, match="`foreach` of `wrong` needs `elementwise=True`"):
            T.Transform(wrong, foreach=torch.ops.aten._foreach_neg_)

    @pytest.mark.parametrize(
        "declared", [{"items": "row"}, {"items": "matrix", "elementwise": True}]
    )
    def test_items_are_items_or_matrices(self, declared: Any):
        def wrong(grad: Tensor) -> None: ...

        with pytest.raises(
            ValueError, match=r"`items` of `wrong` must be among \('entry', 'item', 'matrix'"
        ):
            T.Transform(wrong, **declared)

    def test_arguments_must_be_named(self):
        def wrong(grad: Tensor, **settings: float) -> None: ...

        with pytest.raises(TypeError, match=r"`wrong` must name its arguments.*`\*\*settings"):
            T.transform(wrong)

    def test_names_what_it_writes_and_when(self):
        assert (T.sign.target, T.sign.when) == ("grad", "pre")
        assert (T.simplex.target, T.simplex.when) == ("param", "post")

    def test_copies_and_pickles_by_reference(self):
        assert pickle.loads(pickle.dumps(T.sign)) is T.sign
        assert copy.deepcopy(T.sign) is T.sign

    def test_two_of_one_name_are_refused(self):
        def sign(grad: Tensor) -> None: ...

        with pytest.raises(
            ValueError, match=r"`sign` is registered already, by xformopt.transforms"
        ):
            T.transform(sign)

    def test_unknown_name_gives_close_matches(self):
        with pytest.raises(ValueError, match=r"unknown transform `top_k`: did you mean .*`top_q`"):
            T.get("top_k")
        with pytest.raises(ValueError, match="unknown transform `zzz`: there are: adam, "):
            T.get("zzz")

    def test_wrong_arguments_are_refused(self):
        with pytest.raises(TypeError, match=r"`wrong` must be what it writes, .*got .'x',"):

            @T.transform
            def wrong(x: Tensor) -> None: ...

        with pytest.raises(TypeError, match=r"then its state .'average',.; got .'grad', 'mean'"):

            @T.transform(state=("average",))
            def wrong_state(grad: Tensor, mean: Tensor) -> None: ...


class TestLink:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"q": 1.5}, r"`q` of `top_q` must be a number in \[0, 1\], got 1.5"),
            ({"q": float("nan")}, r"`q` of `top_q` must be a number in \[0, 1\], got nan"),
            ({"q": "a"}, r"`q` of `top_q` must be a number in \[0, 1\], got 'a'"),
            ({"q": True}, r"`q` of `top_q` must be a number in \[0, 1\], got True"),
            ({"q": None}, r"`q` of `top_q` must be a number in \[0, 1\], got None"),
            ({"generator": 3}, "`generator` of `top_q` must be Generator or None, got 3"),
            ({"qq": 0.5}, "`top_q` has no setting `qq`: did you mean `q`"),
            ({"when": "now"}, "`when` of `top_q` must be 'pre' or 'post', got 'now'"),
            ({"param_ndim": "1"}, "`param_ndim` must be an int or None, got '1'"),
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any], message: str):
        with pytest.raises((TypeError, ValueError), match=message):
            T.top_q(**settings)

    def test_settings_that_contradict_each_other(self):
        with pytest.raises(ValueError, match="`clamp`: `min` must not exceed `max`, got min=2"):
            T.clamp(min=2.0)
        with pytest.raises(ValueError, match="`box`: `min` or `max` must be given"):
            T.box(min=None, max=None)

    def test_a_needed_setting(self):
        @T.transform
        def throwaway_needs(grad: Tensor, *, amount: float) -> None: ...

        try:
            with pytest.raises(TypeError, match=r"`throwaway_needs` needs a value for `amount`"):
                throwaway_needs()
        finally:
            T.remove("throwaway_needs")

    def test_repr_is_the_call(self):
        link = T.l2_ball(radius=2.0, param_ndim=None, when="pre")
        assert eval(repr(link), {"l2_ball": T.l2_ball}).settings == link.settings

    def test_copies_and_pickles(self):
        link = T.top_q(q=0.3, generator=torch.Generator().manual_seed(3))
        for twin in (copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
            assert twin.settings == link.settings
            assert twin.resources["generator"].initial_seed() == 3


PLUGIN = """
from torch import Tensor
from {module} import transform

@transform(elementwise=True)
def {name}(grad: Tensor, *, times: int = 1) -> None:
    \"\"\"Cube each entry.\"\"\"
    grad.pow_(3**times)
"""


def install(folder: Path, module: str, source: str) -> None:
    """Install a distribution with an entry point into a folder, as pip would lay it out."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[xformopt.transforms]\n{module} = {module}\n")


def run(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(Path(__file__).parent.parent)])
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **env},
    )


def test_third_party_transforms_appear_in_table_and_command_line(tmp_path: Path):
    """From either module that they may import; a broken one is left out with a warning."""
    for name, module in (("plugin_cube", "xformopt"), ("cubed", "xformopt.transforms.registry")):
        install(tmp_path, f"has_{name}", PLUGIN.format(name=name, module=module))
    install(tmp_path, "broken", "raise RuntimeError('no luck')")
    table = run(tmp_path, "-m", "xformopt")
    assert table.returncode == 0
    for name in ("plugin_cube", "cubed", "sign"):
        assert name in table.stdout
    assert "entry point `broken`" in table.stderr
    assert "no luck" in table.stderr
    command = ["task=himmelblau", "trainer.steps=5", "task.starts=2"]
    chain = "optim/transforms=[l2_norm,plugin_cube,cubed]"
    chosen = [chain, "optim.transforms.plugin_cube.times=2"]
    done = run(tmp_path, "-m", "experiments", *command, *chosen)
    assert done.returncode == 0, done.stderr
    assert "plugin_cube(times=2)" in done.stdout
    assert "cubed" in done.stdout


def test_the_table_says_what_a_transform_looks_at():
    seen = {row.name: row.ndim for row in transform_rows()}
    assert seen["sign"] == "entry"
    assert seen["l2_norm"] == "item"
    assert seen["clip_total_norm"] == "all"
    assert {n for n, ndim in seen.items() if ndim == "matrix"} == {
        n for n in T.names() if T.get(n).items == "matrix"
    }
    assert seen["orthogonalize"] == "matrix"


def test_an_item_of_one_dimension_is_a_column():
    for name in T.names():
        transform = T.get(name)
        if transform.items == "matrix":
            x = torch.tensor([[3.0, 4.0, 12.0]])
            column = testing.apply(transform, x.unsqueeze(-1)).squeeze(-1)
            assert torch.equal(testing.apply(transform, x), column)


def test_help_on_one_transform(capsys: pytest.CaptureFixture[str], monkeypatch: Any):
    monkeypatch.setattr(sys, "argv", ["xformopt", "top_q"])
    assert main() == 0
    out = capsys.readouterr().out
    assert "q=0.9" in out
    assert "Source: Aji & Heafield" in out


def test_help_on_an_unknown_transform(capsys: pytest.CaptureFixture[str], monkeypatch: Any):
    monkeypatch.setattr(sys, "argv", ["xformopt", "topq"])
    assert main() == 2
    assert capsys.readouterr().err.startswith(
        "error: no transform, recipe or inner optimizer is called `topq`: did you mean `top_q`"
    )
