"""Roles: what a parameter is to its model, by the modules that hold it, or by its name alone."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

Role = Literal["embedding", "head", "matrix", "vector"]
ROLES: tuple[Role, ...] = get_args(Role)

TABLES = (nn.Embedding, nn.EmbeddingBag)
EMBEDDING = {"emb", "embed", "embeds", "embedder", "embedding", "embeddings", "wte", "wpe"}
"""Words that make all below them an embedding, as in `patch_embed.proj.weight`."""
TABLE = {"tok", "token", "tokens", "pos", "position", "positions", "positional", "cls", "table"}
"""Words that make a parameter an embedding if its own name, or its module's, has one."""
HEAD = {"head", "classifier", "score", "logits", "unembed", "unembedding", "readout"}
OUTPUT = {*HEAD, "out", "output", "outc"}
"""Words that make a layer of the model itself its last one, wherever it was registered."""
LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module"}


@dataclass(frozen=True)
class Held:
    """A parameter, its path in the model, and what the module that holds it says of it."""

    path: tuple[str, ...]
    param: Tensor
    kind: Literal["table", "layer", "matrix", "norm", "unknown"] = "unknown"

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.param.shape)

    @property
    def owner(self) -> str:
        """The name of the module that holds it; "" for the model itself."""
        return self.path[-2] if len(self.path) > 1 else ""


def roles(params: nn.Module | Iterable[Any], *, whole: bool = True) -> dict[str, Role]:
    """Return the role of each parameter of a model, by name.

    `embedding`: tables of embeddings, tied ones too, and what is named as one, such as
    `patch_embed`; `head`: the output layer's weight, which is a layer of the model itself that is
    named `out`, `output`, …, else the last layer unless it lies in a block that is repeated, and
    what is named `head`, `lm_head`, `classifier`, …; `vector`:
    biases, norms and whatever has at most one dimension above 1; `matrix`: all others.

    Args:
        params: the model, whose modules tell most; or `model.named_parameters()`, of which words
            of the names do, split at dots, underscores and capitals.
        whole: whether these are all parameters of a model, so that the last layer is its head.

    >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> roles(model)
    {'0.weight': 'embedding', '1.weight': 'matrix', '1.bias': 'vector', '3.weight': 'head',
     '3.bias': 'vector'}
    >>> roles([("wte.weight", model[0].weight), ("attn.qkv.weight", model[1].weight)], whole=False)
    {'wte.weight': 'embedding', 'attn.qkv.weight': 'matrix'}

    Source: which of them Muon takes is the rule of Jordan et al. 2024, Muon.
    """
    held = _of_module(params) if isinstance(params, nn.Module) else _of_names(params)
    stripped = dict(zip(held, _without_prefix([*held.values()]), strict=True))
    last = _last_layer(list(stripped.values())) if whole else None
    return {name: _role(h, list(stripped.values()), last) for name, h in stripped.items()}


def _of_module(model: nn.Module) -> dict[str, Held]:
    """Each parameter once, by its first name; as a table if one of its modules is one."""
    found: dict[int, tuple[str, Held]] = {}
    for path, module, is_part in _modules(model):
        for key, param in module.named_parameters(recurse=False):
            name = f"{path}.{key}" if path else key
            owner = model.get_submodule(".".join(_path(name)[:-1]))
            kind = "matrix" if is_part and key == "weight" else _kind(owner, _path(name)[-1])
            held = Held(_path(name), param, kind)
            first = found.setdefault(id(param), (name, held))
            if kind == "table":
                found[id(param)] = (first[0], held)
    return dict(found.values())


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Give path and module, and whether it is a part of attention."""
    attention = {
        id(child)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
        for child in module.children()
    }
    for path, module in model.named_modules(remove_duplicate=False):
        yield path, module, id(module) in attention


def _kind(module: nn.Module, key: str) -> Any:
    if isinstance(module, TABLES):
        return "table"
    if isinstance(module, LAYERS) and key == "weight":
        return "layer"
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return "matrix"
    return "norm" if isinstance(module, NORMS) else "unknown"


def _of_names(params: Iterable[Any]) -> dict[str, Held]:
    return {name: Held(_path(name), param) for name, param in params}


def _path(name: str) -> tuple[str, ...]:
    """Return the components of a name; a parametrized tensor is called as before.

    >>> _path("3.parametrizations.weight.original1")
    ('3', 'weight')
    """
    *parts, last = name.split(".")
    if parts[-2:-1] == ["parametrizations"]:
        return (*parts[:-2], parts[-1])
    return (*parts, last)


def _without_prefix(held: list[Held]) -> list[Held]:
    """Take off wrappers, and the first components of the paths as long as all share them."""
    held = [
        Held(tuple(p for p in h.path[:-1] if p not in WRAPPERS) + h.path[-1:], h.param, h.kind)
        for h in held
    ]
    while len({h.path[0] for h in held}) == 1 and all(len(h.path) > 2 for h in held):
        held = [Held(h.path[1:], h.param, h.kind) for h in held]
    return held


def _role(held: Held, model: list[Held], last: Held | None) -> Role:
    if held.kind == "table" or (_is_wide(held) and _is_embedding(held)):
        return "embedding"
    if held.kind == "norm" or not _is_wide(held) or held.path[-1] == "bias":
        return "vector"
    if held is last or (_is_head(held) and not _is_repeated(held, model)):
        return "head"
    return "matrix"


def _is_wide(held: Held) -> bool:
    return sum(length > 1 for length in held.shape) > 1


def _is_embedding(held: Held) -> bool:
    if any(_words(component) & EMBEDDING for component in held.path):
        return True
    is_raw = held.kind == "unknown"
    if is_raw and held.path[-2:] == ("shared", "weight"):  # the table of T5
        return True
    own = [held.path[-1], held.owner if held.path[-1] == "weight" else ""]
    return is_raw and any(_words(component) & TABLE for component in own)


def _is_head(held: Held) -> bool:
    if held.path[-1] != "weight":
        return False
    return bool(_words(held.owner) & HEAD) or held.path == ("fc", "weight")


def _last_layer(model: list[Held]) -> Held | None:
    """Return the weight of the layer named as output, or of the last one outside of repetition."""
    attentions = {h.path[:-1] for h in model if h.path[-1] == "in_proj_weight"}
    layers = [
        h
        for h in model
        if h.path[-1] == "weight" and len(h.shape) > 1 and h.kind in ("layer", "unknown")
        if not (_is_embedding(h) or (h.owner == "out_proj" and h.path[:-2] in attentions))
    ]
    outputs = [h for h in layers if len(h.path) == 2 and (_words(h.owner) & OUTPUT or _is_head(h))]
    if outputs:
        return outputs[-1]
    return None if not layers or _is_repeated(layers[-1], model) else layers[-1]


def _is_repeated(held: Held, model: list[Held]) -> bool:
    """Return whether it lies in a numbered block with a like sibling, or without any sibling.

    A block has modules inside: a numbered layer itself, as in a `Sequential`, is none.
    """
    for i, number in enumerate(held.path[:-2]):
        if number.isdigit():
            before, inside = held.path[:i], held.path[i + 1 :]
            siblings = [h for h in model if h.path[:i] == before and _is_other(h.path[i], number)]
            alike = any(h.path[i + 1 :] == inside and h.shape == held.shape for h in siblings)
            if alike or (not siblings and not inside[0].isdigit()):
                return True
    return False


def _is_other(component: str, number: str) -> bool:
    return component.isdigit() and component != number


def _words(component: str) -> set[str]:
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", component)
    return {word.lower() for word in found}
