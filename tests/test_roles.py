"""Roles: who is embedding, head, matrix or vector, by modules and by names; Muon goes by them."""

from typing import Any

import pytest
import torch
from torch import nn

from xformopt import recipes
from xformopt.optim import Route, RoutedOptimizer
from xformopt.optim.roles import roles


def of(params: Any, role: str) -> set[str]:
    """Return the names of that role, with numbers as `*`."""
    found = {name for name, found in roles(params).items() if found == role}
    return {".".join("*" if p.isdigit() else p for p in name.split(".")) for name in found}


def muon(params: Any) -> RoutedOptimizer:
    optim = recipes.build("muon", params)
    assert isinstance(optim, RoutedOptimizer)
    return optim


class Block(nn.Module):
    """Pre-norm attention in Karpathy's names; all that it holds is hidden."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, width // 2, bias=False) for _ in range(2))
        self.c_proj = nn.Linear(width, width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 32), "c_proj": nn.Linear(32, width)})


class GPT(nn.Module):
    def __init__(self, tied: bool = False, layers: int = 2) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(20, 8), nn.Embedding(5, 8)
        self.h = nn.ModuleList(Block() for _ in range(layers))
        self.ln_f = nn.LayerNorm(8)
        self.lm_head = nn.Linear(8, 20, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 8))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 8, 4, 4)})
        self.register_tokens = nn.Parameter(torch.zeros(1, 4, 8))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)


class BasicBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(BasicBlock(8), BasicBlock(8))
        self.layer2 = nn.Sequential(BasicBlock(8), BasicBlock(8))
        self.fc = nn.Linear(8, 10)


class Scaled(nn.Module):
    """torchvision's CNBlock: a depthwise convolution, two linear layers, and their scale."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_scale = nn.Parameter(torch.ones(8, 1, 1))
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 7, groups=8), nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)
        )


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stages = nn.Sequential(Scaled(), Scaled())
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 4), nn.LayerNorm(8)), stages)
        self.classifier = nn.Sequential(nn.LayerNorm(8), nn.Flatten(1), nn.Linear(8, 10))


class Decoys(nn.Module):
    """Names that hold `head` and `emb`, and none of their meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(8, 2)
        self.members = nn.Linear(8, 6)
        self.tok = nn.Embedding(9, 8)
        self.forehead = nn.Linear(6, 8)
        self.out = nn.Linear(8, 3)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))


HIDDEN_BLOCK = {"h.*.heads.*.weight", "h.*.c_proj.weight", "h.*.mlp.c_fc.weight"}
GPT_HIDDEN = {*HIDDEN_BLOCK, "h.*.mlp.c_proj.weight"}
CASES: dict[str, tuple[Any, set[str], set[str], set[str]]] = {
    # name: model, embedding, head, matrix
    "gpt": (GPT(), {"wte.weight", "wpe.weight"}, {"lm_head.weight"}, GPT_HIDDEN),
    "gpt tied": (GPT(tied=True), {"wte.weight", "wpe.weight"}, set(), GPT_HIDDEN),
    "gpt of one block": (GPT(True, 1), {"wte.weight", "wpe.weight"}, set(), GPT_HIDDEN),
    "vit": (
        ViT(),
        {"pos_embed", "patch_embed.proj.weight", "register_tokens"},
        {"head.weight"},
        {
            "blocks.*.self_attn.in_proj_weight", "blocks.*.self_attn.out_proj.weight",
            "blocks.*.linear1.weight", "blocks.*.linear2.weight",
        },
    ),
    "resnet": (
        ResNet(),
        set(),
        {"fc.weight"},
        {
            "conv1.weight", "layer1.*.conv1.weight", "layer1.*.downsample.*.weight",
            "layer2.*.conv1.weight", "layer2.*.downsample.*.weight",
        },
    ),
    "convnext": (
        ConvNeXt(), set(), {"classifier.*.weight"},
        {"features.*.*.weight", "features.*.*.block.*.weight"},
    ),
    "mlp": (mlp(), set(), {"*.weight"}, {"*.weight"}),
    "decoys": (
        Decoys(), {"tok.weight"}, {"out.weight"},
        {
            "multihead_attn.in_proj_weight", "multihead_attn.out_proj.weight", "members.weight",
            "forehead.weight",
        },
    ),
    "transformer": (
        nn.Transformer(8, 2, 2, 2, 16, batch_first=True),
        set(),
        set(),
        {
            f"{half}.layers.*.{layer}"
            for half, attentions in (
                ("encoder", ["self_attn"]), ("decoder", ["self_attn", "multihead_attn"])
            )
            for layer in (
                "linear1.weight", "linear2.weight",
                *(f"{a}.{w}" for a in attentions for w in ("in_proj_weight", "out_proj.weight")),
            )
        },
    ),
    "rnn": (
        nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 4), nn.Linear(4, 9)),
        {"*.weight"},
        {"*.weight"},
        {"*.weight_ih_l0", "*.weight_hh_l0"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_by_modules(name: str):
    model, *expected = CASES[name]
    assert [of(model, role) for role in ("embedding", "head", "matrix")] == expected


@pytest.mark.parametrize("name", sorted(set(CASES) - {"rnn"}))
def test_by_names_alone(name: str):
    """As by modules; only a table whose name does not say so cannot be told."""
    model, *expected = CASES[name]
    named = list(model.named_parameters())
    assert [of(named, role) for role in ("embedding", "head", "matrix")] == expected


@pytest.mark.parametrize("wrapped", ["lit", "module"])
def test_a_prefix_that_all_share_changes_nothing(wrapped: str):
    model = nn.ModuleDict({wrapped: ResNet()})
    for params in (model, model.named_parameters()):
        found = roles(params)
        assert found[f"{wrapped}.fc.weight"] == "head"
        assert found[f"{wrapped}.conv1.weight"] == "matrix"


def test_only_the_last_of_like_layers_is_the_head():
    found = roles(mlp())
    assert [found[f"{i}.weight"] for i in (0, 2, 4)] == ["matrix", "matrix", "head"]
    assert found["4.bias"] == "vector"


def test_an_embedding_wins_over_a_head_that_stands_first():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.table = nn.Linear(4, 9), nn.Embedding(9, 4)
            self.head.weight = self.table.weight

    assert roles(Tied()) == {"head.weight": "embedding", "head.bias": "vector"}


@pytest.mark.parametrize("how", ["module", "names"])
@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_a_parametrized_head(wrap: str, how: str):
    head = getattr(nn.utils.parametrizations, wrap)(nn.Linear(8, 2))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8), nn.ReLU(), head)
    found = roles(model if how == "module" else model.named_parameters())
    last = "original1" if wrap == "weight_norm" else "original"
    assert found[f"3.parametrizations.weight.{last}"] == "head"
    assert found["1.weight"] == "matrix"


LAST: dict[str, tuple[dict[str, nn.Module], str]] = {
    "unet": (
        {"inc": nn.Conv2d(3, 4, 3), "mid": nn.Linear(4, 4), "outc": nn.Conv2d(4, 2, 1)}, "outc"
    ),
    "last conv": ({"se": nn.Linear(4, 4), "conv": nn.Conv2d(4, 2, 1)}, "conv"),
    "registered first": (
        {"out": nn.Linear(4, 2), "l1": nn.Linear(3, 4), "l2": nn.Linear(4, 4)}, "out"
    ),
    "fc_out": ({"fc_out": nn.Linear(4, 2), "l2": nn.Linear(4, 4)}, "fc_out"),
    "bilinear": ({"l1": nn.Linear(3, 4), "l2": nn.Bilinear(4, 4, 2)}, "l2"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize("how", ["module", "names"])
def test_the_output_layer(name: str, how: str):
    layers, head = LAST[name]
    model = nn.ModuleDict(layers)
    assert of(model if how == "module" else list(model.named_parameters()), "head") == {
        f"{head}.weight"
    }


def test_a_class_called_after_a_norm_holds_matrices():
    class LayerNormLinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

    model = nn.ModuleDict({"norm_in": LayerNormLinear(), "head": nn.Linear(4, 2)})
    assert roles(model)["norm_in.weight"] == "matrix"
    assert roles(model.named_parameters())["norm_in.weight"] == "matrix"


def test_the_table_of_t5_by_name():
    named = [("shared.weight", torch.ones(9, 4)), ("encoder.wi.weight", torch.ones(4, 4))]
    assert roles(named)["shared.weight"] == "embedding"


def test_vectors_are_what_has_one_dimension_above_one():
    model = CASES["convnext"][0]
    assert roles(model)["features.1.0.layer_scale"] == "vector"
    assert roles(ViT())["cls_token"] == "vector"
    assert roles(nn.Sequential(nn.LayerNorm([3, 4]), nn.Linear(4, 4)))["0.weight"] == "vector"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["module", "names"])
def test_muon_takes_the_matrices_and_adamw_the_rest(name: str, how: str):
    model = CASES[name][0]
    params = model if how == "module" else model.named_parameters()
    optim = muon(params)
    taken = {n for g in optim.param_groups if g["route"] == "hidden" for n in g["param_names"]}
    given = model if how == "module" else list(model.named_parameters())
    assert taken == {n for n, role in roles(given).items() if role == "matrix"}
    inners = {g["route"]: type(optim.optimizers[g["route"]].inner_opt) for g in optim.param_groups}
    assert {inners[route] for route in inners if route != "hidden"} <= {torch.optim.AdamW}


class TestRoute:
    def test_by_role(self):
        rules = {"matrices": Route(role="matrix", lr=0.5), "rest": Route(lr=0.1)}
        optim = RoutedOptimizer(ResNet(), rules)
        assert "fc.weight" in optim.param_groups[1]["param_names"]
        assert "conv1.weight" in optim.param_groups[0]["param_names"]

    def test_several_roles_and_a_name(self):
        rules = {"ends": Route("*e*", role=["embedding", "head"]), "rest": Route()}
        optim = RoutedOptimizer(GPT(), rules)
        assert optim.param_groups[0]["param_names"] == [
            "wte.weight",
            "wpe.weight",
            "lm_head.weight",
        ]

    def test_an_unknown_role(self):
        wrong: Any = "matrx"
        with pytest.raises(ValueError, match=r"`role` of a route must be in .* got 'matrx'; did"):
            Route(role=wrong)

    def test_added_parameters_have_no_last_layer(self):
        optim = muon(mlp())
        added: dict[str, Any] = {"params": [("more.weight", nn.Parameter(torch.ones(3, 3)))]}
        optim.add_param_group(added)
        assert optim.param_groups[-1]["route"] == "hidden"

    def test_the_table_says_who_went_where(self):
        said = muon(GPT()).describe()
        (head,) = [line for line in said.splitlines() if line.startswith("head ")]
        assert head.split()[:6] == ["head", "role", "head", "AdamW", "none", "lm_head.weight"]


def test_an_output_of_one_unit_leaves_the_layer_before_it_a_matrix():
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    for found in (roles(model), roles(model.named_parameters())):
        assert found["2.weight"] == "matrix"
        assert found["4.weight"] == "vector"
