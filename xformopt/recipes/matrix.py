"""Published optimizers that treat weight matrices as such, and send all else elsewhere."""

from xformopt.recipes.recipe import LAYERS, REST, Chain, Recipe, RecipeRoute
from xformopt.recipes.space import Range, Space, around

WHOLE = {"param_ndim": None, **REST}
HIDDEN = {"role": "matrix", **WHOLE}
ORTHOGONAL: Chain = {
    "ema": {"decay": 0.95, "nesterov": True},
    "orthogonalize": {"scale": "muon", "dtype": "bfloat16"},
}
DECAYED: Space = {"routes.hidden.transforms.weight_decay.weight": around(0.01)}


def _hidden(route: RecipeRoute) -> dict[str, RecipeRoute]:
    """Return routes of hidden matrices and kernels, with AdamW for all else, as Muon has them."""
    return {
        "embeddings": RecipeRoute({"role": "embedding", **REST}, {}, "adamw"),
        "head": RecipeRoute({"role": "head", **REST}, {}, "adamw"),
        "hidden": route,
        "rest": RecipeRoute(REST, {}, "adamw"),
    }


def _constrained(rule: dict[str, object], chain: Chain, radius: float) -> RecipeRoute:
    """Return a route of Scion: x ← (1 - γ) x - γ · radius · g, with γ = 2⁻⁴, lr = γ · radius."""
    chain = {"ema": {"decay": 0.5}, **chain, "weight_decay": {"weight": 1 / radius}}
    return RecipeRoute({**rule, **WHOLE}, chain, settings={"lr": radius / 16})


MATRIX: dict[str, Recipe] = {
    "muon": Recipe(
        "orthogonalised momentum for matrices and kernels, AdamW for embeddings, the output layer "
        "and vectors",
        {},
        "Jordan et al. 2024",
        routes=_hidden(
            RecipeRoute(HIDDEN, {**ORTHOGONAL, "weight_decay": {}}, settings={"lr": 0.02})
        ),
        space=DECAYED,
    ),
    "normuon": Recipe(
        "Muon with each row divided by its moving size",
        {},
        "Li et al. 2025, arXiv:2510.05491",
        routes=_hidden(
            RecipeRoute(
                HIDDEN, {**ORTHOGONAL, "row_rms": {}, "weight_decay": {}}, settings={"lr": 0.02}
            )
        ),
        space=DECAYED,
    ),
    "hyperball_adamw": Recipe(
        "Adam with norms of hidden matrices and of their updates held fixed, AdamW for the rest",
        {},
        "Wen et al. 2026, arXiv:2606.16899",
        routes=_hidden(
            RecipeRoute(HIDDEN, {"hyperball": {}}, "adamw", {"lr": 0.01, "weight_decay": 0.0})
        ),
    ),
    "hyperball_muon": Recipe(
        "Muon with norms of hidden matrices and of their updates held fixed, AdamW for the rest",
        {},
        "Wen et al. 2026, arXiv:2606.16899",
        routes=_hidden(RecipeRoute(HIDDEN, {**ORTHOGONAL, "hyperball": {}}, settings={"lr": 0.01})),
    ),
    "soap": Recipe(
        "Adam in the eigenbasis of Shampoo for matrices, AdamW for vectors",
        {},
        "Vyas et al. 2024, arXiv:2409.11321",
        routes={
            "matrices": RecipeRoute(
                LAYERS,
                {"soap": {}, "weight_decay": {}},
                settings={"lr": 3e-3},
            ),
            "vectors": RecipeRoute(REST, {}, "adamw", {"lr": 3e-3, "betas": (0.95, 0.95)}),
        },
        space={"routes.matrices.transforms.weight_decay.weight": around(0.01)},
    ),
    "scion": Recipe(
        "steps to the oracles of norm balls: spectral, of signs for the output layer, of rows for "
        "embeddings; kernels k × k are matrices, with k times the paper's steps; under a rate that "
        "falls to 0",
        {},
        "Pethick et al. 2025, arXiv:2502.07529",
        routes={
            "embeddings": _constrained(
                {"role": "embedding"},
                {"row_norm": {}, "shape_scale": {"rows": 0.0, "columns": 0.5}},
                8,
            ),
            "head": _constrained(
                {"role": "head"}, {"sign": {}, "shape_scale": {"rows": 0.0, "columns": -1.0}}, 128
            ),
            "hidden": _constrained(
                {"role": "matrix"},
                {"orthogonalize": {"dtype": "bfloat16"}, "shape_scale": {}},
                8,
            ),
            "rest": _constrained({}, {"rms_norm": {}}, 8),
        },
        space={"routes.hidden.transforms.ema.decay": Range(0.5, 0.95, log=False)},
    ),
    "spectra_adamw": Recipe(
        "AdamW with the spectrum of matrices' updates clipped softly",
        {},
        "Jiang et al. 2026, arXiv:2603.14315",
        routes={
            "matrices": RecipeRoute(
                LAYERS,
                {"decoupled_weight_decay": {"when": "pre"}, "spectral_clip": {}},
                "adam",
            ),
            "vectors": RecipeRoute(REST, {}, "adamw"),
        },
        space={"routes.matrices.transforms.spectral_clip.max_norm": Range(1.0, 100.0)},
    ),
}
