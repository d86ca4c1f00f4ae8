"""The transforms by name, and the registry that they stand in."""

from xformopt.transforms.clip import clamp, clip_norm
from xformopt.transforms.link import Link
from xformopt.transforms.normalize import l1_norm, l2_norm, linf_norm
from xformopt.transforms.project import box, l1_ball, l2_ball, linf_ball, nonnegative, simplex
from xformopt.transforms.registry import Transform, get, names, remove, transform
from xformopt.transforms.sparsify import top_q
from xformopt.transforms.steepest import l1_steepest, sign

__all__ = [
    "Link",
    "Transform",
    "box",
    "clamp",
    "clip_norm",
    "get",
    "l1_ball",
    "l1_norm",
    "l1_steepest",
    "l2_ball",
    "l2_norm",
    "linf_ball",
    "linf_norm",
    "names",
    "nonnegative",
    "remove",
    "sign",
    "simplex",
    "top_q",
    "transform",
]
