"""Weather: snow and fog."""

import torch
from torch import Generator, Tensor

from xformopt.perturbations.corruptions.color import luma
from xformopt.perturbations.corruptions.kernels import moved, zoomed
from xformopt.perturbations.corruptions.registry import corruption


@corruption({
    32: [(0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95), (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
         (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9), (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
         (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8)],
    64: [(0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.8), (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.8),
         (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.7), (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.65),
         (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.6)],
    224: [(0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8), (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
          (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
          (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55)],
})  # fmt: skip
def snow(
    images: Tensor, generator: Generator, mean: float, std: float, zoom: float, least: float,
    radius: int, trail: float, kept: float,
) -> Tensor:  # fmt: skip
    """Flakes, normal noise above `least`, zoomed and blown down, over an image that turns white.

    x ← kept · x + (1 - kept) · max(x, 1.5 · luma(x) + 0.5) + flakes + flakes turned by 180 degrees

    >>> x = torch.rand(2, 1, 8, 8)
    >>> snow(x, 1, torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    flakes = torch.empty_like(images[:, :1]).normal_(mean, std, generator=generator)
    flakes = zoomed(flakes, zoom)
    flakes = torch.where(flakes < least, 0, flakes).clamp(0, 1)
    degrees = images.new_empty(len(images)).uniform_(-135, -45, generator=generator)
    flakes = moved(flakes, radius, trail, degrees)
    white = torch.maximum(images, 1.5 * luma(images) + 0.5)
    return kept * images + (1 - kept) * white + flakes + flakes.rot90(2, (2, 3))


@corruption({
    32: [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)],
    64: [(0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)],
    224: [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)],
})  # fmt: skip
def fog(images: Tensor, generator: Generator, density: float, decay: float) -> Tensor:
    """A plasma fractal over an image, which is scaled back to its largest entry m.

    x ← (x + density · plasma) · m / (m + density); what is black all over stays so

    >>> x = torch.rand(2, 1, 8, 8)
    >>> fog(x, 1, torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    count, _, height, width = images.shape
    side = 1 << (max(height, width) - 1).bit_length()
    haze = plasma(images.new_zeros(count, side, side), decay, generator)[:, None, :height, :width]
    most = images.amax((1, 2, 3), keepdim=True)
    return (images + density * haze) * most / (most + density)


def plasma(maps: Tensor, decay: float, generator: Generator) -> Tensor:
    """Return maps `(N, S, S)`, S a power of 2, filled by the diamond-square algorithm, in [0, 1].

    Points amid four others, around edges too, get their mean and a number from [-a², a²], a = 100
    divided by `decay` each time that the distance is halved.

    >>> plasma(torch.zeros(1, 4, 4), 2.0, torch.Generator()).aminmax()
    torch.return_types.aminmax(
    min=tensor(0.),
    max=tensor(1.))

    Source: Fournier et al. 1982, Computer rendering of stochastic models, CACM 25(6).
    """
    step, reach = maps.shape[1], 100.0

    def mean_and_more(total: Tensor) -> Tensor:
        more = torch.empty_like(total).uniform_(-(reach**2), reach**2, generator=generator)
        return total / 4 + more

    while step > 1:
        half = step // 2
        corners = maps[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        middles = mean_and_more(pairs + pairs.roll(-1, 2))
        maps[:, half::step, half::step] = middles
        across, down = corners + corners.roll(-1, 2), corners + corners.roll(-1, 1)
        maps[:, ::step, half::step] = mean_and_more(middles + middles.roll(1, 1) + across)
        maps[:, half::step, ::step] = mean_and_more(middles + middles.roll(1, 2) + down)
        step, reach = half, reach / decay
    low, high = (bound((1, 2), keepdim=True) for bound in (maps.amin, maps.amax))
    return (maps - low) / (high - low)
