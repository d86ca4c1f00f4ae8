"""The transforms by name, and the registry that they stand in."""

from xformopt.transforms.averages import ema, grokfast, lion_mix, momentum
from xformopt.transforms.clip import (
    adaptive_clip,
    clamp,
    clip_norm,
    clip_quantile,
    clip_total_norm,
    soft_clip,
)
from xformopt.transforms.link import Link
from xformopt.transforms.matrix import (
    column_norm,
    nuclear_steepest,
    orthogonalize,
    row_norm,
    spectral_steepest,
)
from xformopt.transforms.matrix_sets import (
    low_rank,
    max_norm,
    nuclear_ball,
    spectral_ball,
    stiefel,
)
from xformopt.transforms.noise import gradient_noise
from xformopt.transforms.normalize import (
    centralize,
    l1_norm,
    l2_norm,
    linf_norm,
    rms_norm,
    standardize,
)
from xformopt.transforms.precondition import adam, rms
from xformopt.transforms.project import (
    box,
    l1_ball,
    l2_ball,
    l2_sphere,
    linf_ball,
    nonnegative,
    simplex,
    topq_ball,
)
from xformopt.transforms.registry import Transform, get, names, remove, transform
from xformopt.transforms.relate import cautious, orthogonal_to_param, trust_ratio, weight_decay
from xformopt.transforms.sparsify import random_sparse, top_q
from xformopt.transforms.steepest import (
    box_steepest,
    l1_steepest,
    sign,
    simplex_steepest,
    topq_steepest,
)
from xformopt.transforms.weights import lookahead, param_ema, quantize

__all__ = [
    "Link",
    "Transform",
    "adam",
    "adaptive_clip",
    "box",
    "box_steepest",
    "cautious",
    "centralize",
    "clamp",
    "clip_norm",
    "clip_quantile",
    "clip_total_norm",
    "column_norm",
    "ema",
    "get",
    "gradient_noise",
    "grokfast",
    "l1_ball",
    "l1_norm",
    "l1_steepest",
    "l2_ball",
    "l2_norm",
    "l2_sphere",
    "linf_ball",
    "linf_norm",
    "lion_mix",
    "lookahead",
    "low_rank",
    "max_norm",
    "momentum",
    "names",
    "nonnegative",
    "nuclear_ball",
    "nuclear_steepest",
    "orthogonal_to_param",
    "orthogonalize",
    "param_ema",
    "quantize",
    "random_sparse",
    "remove",
    "rms",
    "rms_norm",
    "row_norm",
    "sign",
    "simplex",
    "simplex_steepest",
    "soft_clip",
    "spectral_ball",
    "spectral_steepest",
    "standardize",
    "stiefel",
    "top_q",
    "topq_ball",
    "topq_steepest",
    "transform",
    "trust_ratio",
    "weight_decay",
]
