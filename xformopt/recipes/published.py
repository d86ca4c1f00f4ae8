"""Published optimizers for training, each as a chain and an inner optimizer."""

from xformopt.recipes.recipe import LAYERS, REST, Recipe, RecipeRoute
from xformopt.recipes.space import Range, Space, around

UNITS = {"ndim": ">=2", "param_ndim": -1, "optional": True}

MOMENTUM: Space = {"transforms.momentum.decay": Range(0.8, 0.98, log=False)}
DECAY: Space = {"transforms.weight_decay.weight": around(0.01)}

TRAINING: dict[str, Recipe] = {
    "sgd_momentum": Recipe(
        "SGD with heavy-ball momentum",
        {"weight_decay": {"weight": 0.0}, "momentum": {}},
        "Polyak 1964",
        settings={"lr": 1e-2},
        space=MOMENTUM,
    ),
    "sign_sgd": Recipe("the sign of the gradient", {"sign": {}}, "Bernstein et al. 2018"),
    "signum": Recipe(
        "the sign of the moving average",
        {"ema": {}, "sign": {}},
        "Bernstein et al. 2018",
        space={"transforms.ema.decay": Range(0.8, 0.98, log=False)},
    ),
    "lion": Recipe(
        "the sign of a mix of gradient and average",
        {"lion_mix": {}, "sign": {}, "weight_decay": {"weight": 0.0}},
        "Chen et al. 2023, arXiv:2302.06675",
        settings={"lr": 1e-4},
        space={"transforms.weight_decay.weight": around(0.1)},
    ),
    "normalized_sgd": Recipe(
        "each gradient over its norm",
        {"l2_norm": {}},
        "Hazan et al. 2015, arXiv:1507.02030",
        param_ndim=None,
    ),
    "lars": Recipe(
        "SGD with layer-wise rates, weight decay within them",
        {},
        "You et al. 2017, arXiv:1708.03888",
        routes={
            "layers": RecipeRoute(
                LAYERS,
                {"lars_scale": {}, "momentum": {}},
                settings={"lr": 1.0},
            ),
            "vectors": RecipeRoute(
                REST, {"weight_decay": {"weight": 0.0}, "momentum": {}}, settings={"lr": 1.0}
            ),
        },
    ),
    "lamb": Recipe(
        "Adam with layer-wise rates",
        {"adam": {"eps": 1e-6}, "weight_decay": {}, "trust_ratio": {}},
        "You et al. 2020, arXiv:1904.00962",
        param_ndim=None,
        space=DECAY,
    ),
    "rmsprop_parts": Recipe(
        "RMSProp from parts",
        {"weight_decay": {"weight": 0.0}, "rms": {}},
        "Tieleman & Hinton 2012",
    ),
    "adam_parts": Recipe(
        "Adam from parts",
        {"weight_decay": {"weight": 0.0}, "adam": {}},
        "Kingma & Ba 2015, arXiv:1412.6980",
    ),
    "adamw_parts": Recipe(
        "AdamW from parts",
        {"adam": {}, "weight_decay": {}},
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
        space=DECAY,
    ),
    "cautious_adamw": Recipe(
        "AdamW without the entries that turn against the gradient",
        {"adam": {}, "cautious": {}, "weight_decay": {}},
        "Liang et al. 2024, arXiv:2411.16085",
        param_ndim=None,
        space=DECAY,
    ),
    "cautious_decay_adamw": Recipe(
        "AdamW whose decay acts where the update goes to 0, too",
        {"cautious_weight_decay": {}},
        "Chen et al. 2025, arXiv:2510.12402",
        inner="adam",
        space={"transforms.cautious_weight_decay.weight": around(0.01)},
    ),
    "ademamix": Recipe(
        "Adam with a second, slower average",
        {"ademamix": {}, "weight_decay": {"weight": 0.0}},
        "Pagliardini et al. 2024, arXiv:2409.03137",
        space={"transforms.ademamix.alpha": Range(1.0, 10.0)},
    ),
    "mars_adamw": Recipe(
        "AdamW on matrices' gradients with their change added, clipped",
        {},
        "Yuan et al. 2024, arXiv:2411.10438",
        routes={
            "matrices": RecipeRoute(
                LAYERS,
                {"mars": {}, "clip_norm": {}},
                "adamw",
                {"lr": 3e-3, "betas": (0.95, 0.99)},
            ),
            "vectors": RecipeRoute(REST, {}, "adamw", {"lr": 3e-3, "betas": (0.9, 0.95)}),
        },
        space={"routes.matrices.transforms.mars.gamma": Range(0.005, 0.1)},
    ),
    "trust_region_adamw": Recipe(
        "AdamW whose update of a matrix is at most a share of its norm",
        {},
        "after Brock et al. 2021, arXiv:2102.06171, who bound gradients so",
        routes={
            "matrices": RecipeRoute(LAYERS, {"trust_region": {}}, "adamw"),
            "vectors": RecipeRoute(REST, {}, "adamw"),
        },
        space={"routes.matrices.transforms.trust_region.max_ratio": Range(0.001, 0.1)},
    ),
    "clipped_adam": Recipe(
        "Adam on gradients clipped item by item",
        {"clip_norm": {}},
        "after Pascanu et al. 2013, who clip one norm over all",
        inner="adam",
    ),
    "grokfast_adamw": Recipe(
        "AdamW on gradients with their slow part amplified",
        {"grokfast": {}},
        "Lee et al. 2024, arXiv:2405.20233",
        inner="adamw",
    ),
    "ortho_sgd": Recipe(
        "SGD off the direction of the parameter",
        {"orthogonal_to_param": {}},
        "Prieto et al. 2025, arXiv:2501.04697",
        param_ndim=None,
    ),
    "lookahead_adam": Recipe(
        "Adam with slow weights", {"lookahead": {}}, "Zhang et al. 2019", inner="adam"
    ),
    "agc": Recipe(
        "SGD with gradients clipped to a share of each unit's norm",
        {},
        "Brock et al. 2021, arXiv:2102.06171",
        routes={
            "units": RecipeRoute(UNITS, {"adaptive_clip": {}}, settings={"lr": 0.1}),
            "vectors": RecipeRoute(
                {**REST, "param_ndim": None}, {"adaptive_clip": {}}, settings={"lr": 0.1}
            ),
        },
    ),
    "centralized_sgd": Recipe(
        "SGD on gradients of mean zero",
        {},
        "Yong et al. 2020, arXiv:2004.01461",
        routes={
            "units": RecipeRoute(UNITS, {"centralize": {}}),
            "vectors": RecipeRoute(REST, {}),
        },
    ),
}
