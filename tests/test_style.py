"""What a reader relies on: lint, types, what the wheel holds, what the public names say."""

import inspect
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import xformopt
from tests.test_configs import OPTIONS
from xformopt import optim, transforms

ROOT = Path(__file__).parent.parent


PYRIGHT = f"pyright --pythonpath {sys.executable}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", PYRIGHT])
def test_lint_and_types(command: str):
    tool, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_xformopt_alone_and_imports_alone(tmp_path: Path):
    """Zipped, in an empty folder, with nothing of the checkout on the path, it imports."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"xformopt"}
    assert "xformopt/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    code = (
        f"import sys; sys.path = [{str(wheel)!r}, *(p for p in sys.path if {str(ROOT)!r} != p)];"
        "import xformopt.configs; assert '.whl' in xformopt.__file__; xformopt.configs.make_store()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", transforms.names())
def test_every_transform_says_what_how_and_whence(name: str):
    doc = inspect.getdoc(transforms.get(name).fn) or ""
    assert "←" in doc
    assert ">>> " in doc
    assert "Source: " in doc


def test_every_public_name_is_documented():
    for module in (xformopt, optim, transforms):
        for name in module.__all__:
            assert inspect.getdoc(getattr(module, name)), name
    assert set(transforms.names()) <= set(dir(transforms))


RUN = """
import runpy, sys
for sys.argv in {}:
    print("$")
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocks_of(page: str) -> list[str]:
    blocks = (ROOT / page).read_text().split("```python\n")[1:]
    return [block.split("```")[0] for block in blocks]


def test_the_readme_examples_run(tmp_path: Path):
    """The Python blocks of both pages, as files of their own; under Hydra 1.4 as it says there."""
    first, app, short = blocks_of("README.md")
    recipe, routes, second, update, kit, third, attack, own, corrupt, dead = blocks_of(
        "xformopt/README.md"
    )
    (tmp_path / "example.py").write_text(first + "print(len(optimizer.transforms))\n")
    (tmp_path / "attack.py").write_text(attack + "print(robust <= 1)\n")
    (tmp_path / "own.py").write_text(own + "print(moved.shape)\n")
    (tmp_path / "corrupt.py").write_text(corrupt + "print(len(corrupted))\n")
    (tmp_path / "dead.py").write_text(dead + "print(dead_pixels)\n")
    (tmp_path / "recipe.py").write_text(recipe + "print(*optimizer.transforms)\n")
    (tmp_path / "routes.py").write_text(routes.replace("print(", "print(len(optimizer.routes), "))
    (tmp_path / "shrink.py").write_text(second + "print(shrink(by=0.5))\n")
    check = "from xformopt import testing\ntesting.check_transform(steady)\nprint(steady())\n"
    (tmp_path / "update.py").write_text(update + check)
    (tmp_path / "short.py").write_text(short + "print(shrink(by=0.5))\n")
    (tmp_path / "kit.py").write_text(kit + "print('kept')\n")
    assert app == third
    (tmp_path / "app.py").write_text(third.replace('version_base="1.3"', OPTIONS))
    overrides = ["optim/transforms=[top_q]", "optim.transforms.top_q.q=0.3"]
    for process in (
        [
            (["app.py", *overrides], "ParamTransformingOptimizer [Adam](\ntop_q: top_q(q=0.3"),
            (["example.py"], "3"),
            (["attack.py"], "tensor(True)"),
            (["own.py"], "torch.Size([4, 1, 2, 2])"),
            (["corrupt.py"], "17"),
            (["dead.py"], "<corruption dead_pixels of"),
            (["recipe.py"], "lion_mix sign weight_decay"),
            (["routes.py"], "3 route"),
            (["shrink.py"], "shrink(by=0.5)"),
            (["update.py"], "steady(decay=0.9)"),
            (["short.py"], "shrink(by=0.5)"),
            (["kit.py"], "kept"),
        ],
        [(["app.py", "optim=muon"], "RoutedOptimizer (")],
    ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN.format([command for command, _ in process])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        for out, (_, said) in zip(done.stdout.split("$\n")[1:], process, strict=True):
            assert out.startswith(said)
