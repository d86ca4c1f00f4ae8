"""What a corruption is: a function of images, with constants for each severity and size."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any

import torch
from torch import Generator, Tensor

from xformopt.perturbations.checks import check_pixels
from xformopt.refused import Refused
from xformopt.transforms.items import at_least_float32

SEVERITIES = 5
SMALLEST = 8
COLORS = 3

CORRUPTIONS: dict[str, "Corruption"] = {}
"""Every corruption by its name."""

Tables = Mapping[int, Sequence[Any]]
"""The side of images in pixels → the constants of each severity, a number or a tuple."""


class Corruption:
    """A corruption of images, at five severities.

    Args:
        fn: `fn(images, *constants)`, or `fn(images, generator, *constants)` if it draws numbers; it
            leaves its images alone. What it returns is clipped to [0, 1].
        tables: its constants. Images take those of the nearest size, by the ratio of the shorter
            side: up to 45 pixels those of 32, up to 119 those of 64, above those of 224.
        needs_color: whether it acts on colour, and refuses images that have none.
    """

    def __init__(
        self, fn: Callable[..., Tensor], tables: Tables, *, needs_color: bool = False
    ) -> None:
        """Keep the function and what is declared of it."""
        if not tables or any(len(table) != SEVERITIES for table in tables.values()):
            raise Refused("tables", f"{SEVERITIES} constants for each size", tables)
        functools.update_wrapper(self, fn)
        self.__name__ = fn.__name__
        self.fn, self.tables, self.needs_color = fn, tables, needs_color
        self.draws = "generator" in inspect.signature(fn).parameters
        self._check_takes()
        self.__signature__ = inspect.signature(self.__call__)

    @torch.no_grad()
    def __call__(self, images: Tensor, severity: int, generator: Generator | None = None) -> Tensor:
        """Return the images, `(N, C, H, W)` in [0, 1], corrupted; each draws numbers of its own.

        Args:
            images: what is corrupted.
            severity: from 1 to 5.
            generator: what numbers are drawn from, on the images' device, where any are.
        """
        _check_severity(severity)
        self._check_images(images)
        self._check_generator(generator, images.device)
        drawn = (generator,) if self.draws else ()
        given = images.to(at_least_float32(images.dtype)).contiguous()
        constants = self.constants(severity, images)
        with torch.autocast(images.device.type, enabled=False):
            made = self.fn(given, *drawn, *constants) if images.numel() else given
        return made.clamp(0, 1).to(images.dtype)

    def constants(self, severity: int, images: Tensor) -> tuple[Any, ...]:
        """Return the constants for images of this size."""
        side = min(images.shape[2:])
        nearest = min(self.tables, key=lambda size: abs(log(side / size)))
        return _as_tuple(self.tables[nearest][severity - 1])

    def _check_takes(self) -> None:
        """Refuse a function that does not take what it is given."""
        names = [*inspect.signature(self.fn).parameters]
        rest = names[2:] if names[1:2] == ["generator"] else names[1:]
        counts = {
            len(_as_tuple(constants)) for table in self.tables.values() for constants in table
        }
        if not names or "generator" in rest or counts != {len(rest)}:
            rule = "`(images, *constants)`, or `(images, generator, *constants)` where it draws"
            raise Refused(
                f"`{self.__name__}` must take {rule}, {max(counts)} of them; got {', '.join(names)}"
            )

    def _check_images(self, images: Tensor) -> None:
        check_pixels(images)
        shape = tuple(images.shape)
        if min(shape[2:]) < SMALLEST:
            says = f"`images` must have {SMALLEST} pixels a side or more, got shape {shape}"
            raise Refused("images", says=says)
        if self.needs_color and shape[1] != COLORS:
            says = f"`images` of `{self.__name__}` must have {COLORS} channels, got shape {shape}"
            raise Refused("images", says=says)

    def _check_generator(self, generator: Generator | None, device: torch.device) -> None:
        if self.draws and (generator is None or generator.device.type != device.type):
            got = "None" if generator is None else f"one on {generator.device}"
            says = f"`generator` of `{self.__name__}` must be a Generator on {device}, got {got}"
            raise Refused("generator", says=says)

    def __reduce__(self) -> str:
        """Pickle and copy by reference, as functions do."""
        return self.__name__

    def __repr__(self) -> str:
        """Show the name and where it comes from."""
        return f"<corruption {self.__name__} of {self.__module__}>"


def _as_tuple(constants: Any) -> tuple[Any, ...]:
    return constants if isinstance(constants, tuple) else (constants,)


def _check_severity(severity: int) -> None:
    known = range(1, SEVERITIES + 1)
    if not isinstance(severity, int) or isinstance(severity, bool) or severity not in known:
        raise Refused("severity", f"an int from 1 to {SEVERITIES}", severity)


def corruption(
    tables: Tables, *, needs_color: bool = False
) -> Callable[[Callable[..., Tensor]], Corruption]:
    """Register a function of images as a corruption under its name; return that in its place.

    >>> @corruption({32: [0.1, 0.2, 0.3, 0.4, 0.5]})
    ... def dim(images: Tensor, lost: float) -> Tensor:
    ...     return (1 - lost) * images
    >>> dim(torch.ones(1, 1, 8, 8), 5).unique()
    tensor([0.5000])
    >>> CORRUPTIONS.pop("dim")
    <corruption dim of xformopt.perturbations.corruptions.registry>
    """

    def register(fn: Callable[..., Tensor]) -> Corruption:
        made = Corruption(fn, tables, needs_color=needs_color)
        if made.__name__ in CORRUPTIONS:
            says = f"there is a corruption `{made.__name__}` already: give it another name"
            raise Refused(says)
        CORRUPTIONS[made.__name__] = made
        return made

    return register
