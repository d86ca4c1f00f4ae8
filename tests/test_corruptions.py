"""Corruptions keep their contract, and give what SciPy, Pillow and closed forms give."""

import colorsys
import io
import math
import pickle
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Generator, Tensor

from xformopt.perturbations import CORRUPTIONS, Corruption, corruption
from xformopt.perturbations.corruptions import kernels
from xformopt.perturbations.corruptions.blur import disk, strewn
from xformopt.perturbations.corruptions.digital import affine, corners_of, places_of
from xformopt.perturbations.corruptions.weather import plasma
from xformopt.refused import Refused

NAMES = sorted(CORRUPTIONS)
LEVEL = 1 / 255
NEARER = "elastic_transform"
"""Whose images lie nearer at high severities, in the authors' files too."""

shapes = st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 4]), *[st.integers(8, 37)] * 2)
severities = st.integers(1, 5)
seeds = st.integers(0, 2**16)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def drawn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=seeded(seed))


def photographs(height: int, width: int, channels: int = 3) -> Tensor:
    """Two photographs, of 8 bits."""
    both = []
    for name in ("china.jpg", "flower.jpg"):
        image = Image.fromarray(load_sample_image(name)).resize((width, height))
        image = image if channels == 3 else image.convert("L")
        both.append(np.array(image).reshape(height, width, channels))
    return torch.tensor(np.stack(both)).permute(0, 3, 1, 2) / 255


def each_row(name: str) -> list[Any]:
    """The constants of a corruption, of all sizes and severities."""
    rows = [row for table in CORRUPTIONS[name].tables.values() for row in table]
    return list(dict.fromkeys(row if isinstance(row, tuple) else (row,) for row in rows))


def holds_its_contract(made: Corruption, images: Tensor, severity: int, seed: int) -> None:
    """What is asked of every corruption."""
    if made.needs_color and images.shape[1] != 3:
        with pytest.raises(Refused, match="must have 3 channels, got shape"):
            made(images, severity, seeded(seed))
        return
    before, state = images.clone(), torch.get_rng_state()
    found = made(images, severity, seeded(seed))
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(made(images, severity, seeded(seed)), found)
    by_pixel = images.to(memory_format=torch.channels_last)
    assert torch.equal(made(by_pixel, severity, seeded(seed)), found)
    assert torch.equal(torch.get_rng_state(), state)
    if not made.draws:
        alone = torch.cat([made(image[None], severity) for image in images])
        torch.testing.assert_close(alone, found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@given(
    shape=shapes,
    severity=severities,
    seed=seeds,
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    corners=st.booleans(),
)
@settings(max_examples=15)
def test_each_holds_its_contract(
    name: str, shape: tuple[int, ...], severity: int, seed: int, dtype: torch.dtype, corners: bool
):
    images = drawn(shape, seed)
    images = (images.round() if corners else images).to(dtype)
    holds_its_contract(CORRUPTIONS[name], images, severity, seed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, 64, 48), (1, 3, 130, 125)])
def test_of_each_size(name: str, shape: tuple[int, ...]):
    made = CORRUPTIONS[name]
    for severity in range(1, 6):
        found = made(drawn(shape), severity, seeded(0))
        assert found.shape == shape
        assert found.isfinite().all()


@pytest.mark.parametrize("name", [name for name in NAMES if CORRUPTIONS[name].draws])
def test_images_of_a_batch_draw_numbers_of_their_own(name: str):
    made = CORRUPTIONS[name]
    images = photographs(32, 32)[:1].repeat(2, 1, 1, 1)
    one, other = made(images, 3, seeded(0))
    assert not torch.equal(one, other)
    assert not torch.equal(made(images, 3, seeded(1))[0], one)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [28, 64])
def test_the_last_severity_moves_further_than_the_first(name: str, side: int):
    images = photographs(side, side).repeat(8, 1, 1, 1)
    first, last = (
        (CORRUPTIONS[name](images, severity, seeded(0)) - images).flatten(1).norm(dim=1).mean()
        for severity in (1, 5)
    )
    assert (last < first) if name == NEARER else (last > first)


class TestRegistry:
    @pytest.fixture
    def dim(self) -> Iterator[Corruption]:
        """A corruption from outside."""

        @corruption({32: [0.1, 0.2, 0.3, 0.4, 0.5], 224: [(0.2,)] * 5})
        def dim(images: Tensor, lost: float) -> Tensor:
            return (1 - lost) * images

        yield dim
        del CORRUPTIONS["dim"]

    def test_one_function_adds_one(self, dim: Corruption):
        assert CORRUPTIONS["dim"] is dim
        for severity in range(1, 6):
            holds_its_contract(dim, drawn((2, 1, 9, 8)), severity, 0)
        assert dim(torch.ones(1, 1, 8, 8), 3)[0, 0, 0, 0].item() == pytest.approx(0.7)
        assert dim(torch.ones(1, 1, 90, 85), 3)[0, 0, 0, 0].item() == pytest.approx(0.8)

    def test_a_name_is_taken_once(self, dim: Corruption):
        with pytest.raises(Refused, match="there is a corruption `dim` already: give it another"):
            corruption({32: [1, 2, 3, 4, 5]})(dim.fn)

    def test_a_function_that_does_not_take_its_constants(self):
        def one(images: Tensor) -> Tensor:
            return images

        def last(images: Tensor, amount: float, generator: Any) -> Tensor:
            return images

        for fn in (one, last):
            with pytest.raises(
                Refused, match=f"`{fn.__name__}` must take `\\(images, \\*constants"
            ):
                corruption({32: [1, 2, 3, 4, 5]})(fn)

    @pytest.mark.parametrize("tables", [{}, {32: [1, 2, 3, 4]}])
    def test_five_severities_a_size(self, tables: Any):
        with pytest.raises(Refused, match="`tables` must be 5 constants for each size, got"):
            corruption(tables)(lambda images, by: images)

    @pytest.mark.parametrize(
        ("shape", "constant"),
        [((28, 28), 500), ((45, 99), 500), ((46, 46), 250), ((119, 119), 250), ((120, 200), 60)],
    )
    def test_constants_of_the_nearest_size(self, shape: tuple[int, int], constant: int):
        images = torch.empty(1, 1, *shape)
        assert CORRUPTIONS["shot_noise"].constants(1, images) == (constant,)

    @pytest.mark.parametrize("name", NAMES)
    def test_is_pickled_by_name_and_documented(self, name: str):
        made = CORRUPTIONS[name]
        assert pickle.loads(pickle.dumps(made)) is made
        assert ">>> " in (made.__doc__ or "")
        assert repr(made).startswith(f"<corruption {name} of xformopt.perturbations.corruptions.")


class TestRefuses:
    @pytest.mark.parametrize("severity", [0, 6, 2.0, True, "3", None])
    def test_severities(self, severity: Any):
        with pytest.raises(Refused, match="`severity` must be an int from 1 to 5, got"):
            CORRUPTIONS["contrast"](torch.zeros(1, 1, 8, 8), severity)

    @pytest.mark.parametrize(
        ("images", "said"),
        [
            (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "`images` must be floating"),
            (torch.zeros(1, 8, 8), r"`images` must be floating, \(N, C, H, W\), in \[0, 1\], got"),
            (torch.full((1, 1, 8, 8), 1.5), r"`images` must lie in \[0, 1\], got entries from 1.5"),
            (torch.full((1, 1, 8, 8), torch.nan), r"`images` must lie in \[0, 1\], got entries"),
            (torch.zeros(1, 1, 8, 7), "`images` must have 8 pixels a side or more, got shape"),
        ],
    )
    def test_images(self, images: Tensor, said: str):
        with pytest.raises(Refused, match=said):
            CORRUPTIONS["contrast"](images, 1)

    def test_grey_images_where_colour_is_changed(self):
        with pytest.raises(Refused, match="`images` of `saturate` must have 3 channels, got shape"):
            CORRUPTIONS["saturate"](torch.zeros(1, 1, 8, 8), 1)

    def test_no_generator_where_numbers_are_drawn(self):
        with pytest.raises(Refused, match="`generator` of `fog` must be a Generator on cpu, got"):
            CORRUPTIONS["fog"](torch.zeros(1, 1, 8, 8), 1)


class TestNoise:
    """Before what they give is clipped."""

    grey = torch.full((4, 3, 100, 100), 0.25)

    def moments(self, name: str, row: tuple[Any, ...]) -> tuple[float, float]:
        found = CORRUPTIONS[name].fn(self.grey, seeded(0), *row)
        return found.mean().item(), found.std().item()

    @pytest.mark.parametrize("row", each_row("gaussian_noise"))
    def test_gaussian(self, row: tuple[float]):
        assert self.moments("gaussian_noise", row) == pytest.approx((0.25, row[0]), abs=0.005)

    @pytest.mark.parametrize("row", each_row("speckle_noise"))
    def test_speckle(self, row: tuple[float]):
        assert self.moments("speckle_noise", row) == pytest.approx((0.25, row[0] / 4), abs=0.002)

    @pytest.mark.parametrize("row", each_row("shot_noise"))
    def test_shot(self, row: tuple[float]):
        expected = (0.25, math.sqrt(0.25 / row[0]))
        assert self.moments("shot_noise", row) == pytest.approx(expected, abs=0.005)

    @pytest.mark.parametrize("row", each_row("impulse_noise"))
    def test_impulse(self, row: tuple[float]):
        found = CORRUPTIONS["impulse_noise"].fn(self.grey, seeded(0), *row)
        for value in (0, 1):
            share = (found == value).float().mean().item()
            assert share == pytest.approx(row[0] / 2, abs=0.003)
        assert ((found == 0.25) | (found == 0) | (found == 1)).all()


def filtered(images: Tensor, by: Callable[[Any], Any]) -> Tensor:
    """What a function of NumPy planes makes of each channel."""
    planes = images.flatten(0, 1).double().numpy()
    return torch.tensor(np.stack([by(plane) for plane in planes])).unflatten(0, images.shape[:2])


def close(found: Tensor, expected: Tensor, atol: float = 2e-6) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=atol)


class TestBlur:
    images = drawn((2, 3, 31, 26))

    @pytest.mark.parametrize("row", each_row("gaussian_blur"))
    def test_gaussian_is_that_of_scipy(self, row: tuple[float]):
        found = CORRUPTIONS["gaussian_blur"].fn(self.images, *row)
        by = scipy.ndimage.gaussian_filter
        close(found, filtered(self.images, lambda x: by(x, row[0], mode="nearest", truncate=4)))

    @pytest.mark.parametrize("std", [0.0, 0.3, 2.0, 60.0])
    def test_gaussian_of_other_edges(self, std: float):
        found = kernels.blurred(self.images, std, truncate=3, edge="reflect")
        by = scipy.ndimage.gaussian_filter
        close(found, filtered(self.images, lambda x: by(x, std, mode="reflect", truncate=3)))

    @pytest.mark.parametrize("row", each_row("defocus_blur"))
    def test_defocus_is_a_convolution(self, row: tuple[float, float]):
        radius, std = row
        reach, soft = (8, 1) if radius <= 8 else (int(radius), 2)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        kernel = (x**2 + y**2 <= radius**2) / (x**2 + y**2 <= radius**2).sum()
        taps = np.exp(-0.5 * (np.arange(-soft, soft + 1) / std) ** 2)
        taps = np.outer(taps, taps) / taps.sum() ** 2
        kernel = scipy.ndimage.correlate(kernel, taps, mode="mirror")
        found = CORRUPTIONS["defocus_blur"].fn(self.images, *row)
        by = scipy.ndimage.correlate
        close(found, filtered(self.images, lambda x: by(x, kernel, mode="mirror")))
        assert disk(*row).sum().item() == pytest.approx(kernel.sum())

    @pytest.mark.parametrize("factor", [1.0, 1.01, 1.06, 1.1, 1.24, 2.25, 4.5])
    @pytest.mark.parametrize("side", [28, 32, 33])
    def test_zooms_are_those_of_scipy(self, side: int, factor: float):
        images = drawn((2, 3, side, side))
        cut = math.ceil(side / factor)
        top = (side - cut) // 2

        def zoomed(x: Any) -> Any:
            large: Any = scipy.ndimage.zoom(x[top : top + cut, top : top + cut], factor, order=1)
            edge = (len(large) - side) // 2
            return large[edge : edge + side, edge : edge + side]

        close(kernels.zoomed(images, factor), filtered(images, zoomed))

    def test_zoom_blur_is_their_mean(self):
        images = self.images
        zooms = [images, images, kernels.zoomed(images, 1.02), kernels.zoomed(images, 1.04)]
        close(CORRUPTIONS["zoom_blur"].fn(images, 3, 0.02), torch.stack(zooms).mean(0))

    @pytest.mark.parametrize("degrees", [-130.0, -90.0, -44.0, 0.0, 13.0, 45.0])
    def test_motion_is_a_sum_along_a_line(self, degrees: float):
        images, radius, std = self.images, 6, 2.0
        sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        expected, total = torch.zeros_like(images), 0.0
        for i in range(2 * radius + 1):
            weight = math.exp(-(i**2) / (2 * std**2))
            down, across = (math.ceil(i * part - 0.5) for part in (sine, cosine))
            rows, columns = (
                [min(max(place + off, 0), side - 1) for place in range(side)]
                for off, side in ((down, 31), (across, 26))
            )
            expected += weight * images[:, :, rows][:, :, :, columns]
            total += weight
        found = kernels.moved(images, radius, std, torch.full((2,), degrees))
        close(found, expected / total)

    @pytest.mark.parametrize("reach", [1, 2, 4])
    @given(seed=seeds)
    @settings(max_examples=10)
    def test_glass_copies_pixel_by_pixel(self, reach: int, seed: int):
        images = drawn((2, 3, 14, 11), seed)
        offs = torch.randint(-reach, reach, (2, 2, 14, 11), generator=seeded(seed))
        expected = images.clone()
        for i in range(2):
            for y, x in product(range(14 - reach, reach, -1), range(11 - reach, reach, -1)):
                down, across = offs[:, i, y, x].tolist()
                expected[i, :, y, x] = expected[i, :, y + down, x + across]
        assert torch.equal(strewn(images, *offs, reach=reach), expected)


class TestColor:
    images = torch.cat(
        [drawn((1, 3, 9, 8)), torch.full((1, 3, 9, 8), 0.5), torch.zeros(1, 3, 9, 8)]
    )

    def by_hsv(self, change: Callable[..., tuple[float, float, float]]) -> Tensor:
        pixels = self.images.double().permute(0, 2, 3, 1)
        made = [
            colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel)))
            for pixel in pixels.reshape(-1, 3).tolist()
        ]
        return torch.tensor(made).reshape(pixels.shape).permute(0, 3, 1, 2)

    @pytest.mark.parametrize("row", each_row("brightness"))
    def test_brightness_adds_to_the_value(self, row: tuple[float]):
        found = CORRUPTIONS["brightness"].fn(self.images, *row)
        close(found, self.by_hsv(lambda h, s, v: (h, s, min(v + row[0], 1.0))))

    @pytest.mark.parametrize("row", each_row("saturate"))
    def test_saturate_changes_the_saturation(self, row: tuple[float, float]):
        found = CORRUPTIONS["saturate"].fn(self.images, *row)
        close(found, self.by_hsv(lambda h, s, v: (h, min(row[0] * s + row[1], 1.0), v)), 1e-5)

    @pytest.mark.parametrize("row", each_row("contrast"))
    def test_contrast_draws_to_the_mean(self, row: tuple[float]):
        found = CORRUPTIONS["contrast"].fn(self.images, *row)
        close(found, filtered(self.images, lambda x: (x - x.mean()) * row[0] + x.mean()))


class TestDigital:
    @pytest.mark.parametrize("row", each_row("pixelate"))
    @pytest.mark.parametrize("shape", [(28, 28), (32, 32), (96, 64)])
    def test_pixelate_is_pillows_box(self, shape: tuple[int, int], row: tuple[float]):
        """Pillow rounds four times."""
        images = photographs(*shape, channels=1)
        height, width = shape

        def resized(x: Any) -> Any:
            image = Image.fromarray((255 * x).round().astype(np.uint8))
            box = Image.Resampling.BOX
            small = image.resize((int(width * row[0]), int(height * row[0])), box)
            return np.array(small.resize((width, height), box)) / 255

        found = CORRUPTIONS["pixelate"].fn(images, *row)
        close(found, filtered(images, resized), 1.01 * LEVEL)

    @pytest.mark.parametrize("row", each_row("jpeg_compression"))
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("shape", [(28, 28), (32, 32), (33, 41), (64, 100)])
    def test_jpeg_is_pillows(self, shape: tuple[int, int], channels: int, row: tuple[int]):
        images = photographs(*shape, channels=channels)
        expected = []
        for image in (255 * images).round().byte().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(image.squeeze()).save(file, "JPEG", quality=row[0])
            expected.append(np.array(Image.open(file)).reshape(image.shape))
        found = CORRUPTIONS["jpeg_compression"].fn(images, *row)
        off = (found.permute(0, 2, 3, 1) * 255 - torch.tensor(np.stack(expected))).abs()
        assert off.mean() < 0.01

    @pytest.mark.parametrize("edge", ["reflect", "mirror"])
    def test_samples_are_those_of_scipy(self, edge: Any):
        images = drawn((2, 3, 12, 9)).double()
        places = drawn((2, 12, 9, 2), 1).double() * 50 - 20
        found = kernels.sampled(images, places, edge)
        for one, made, place in zip(images, found, places, strict=True):
            at = place.flip(-1).permute(2, 0, 1).numpy()
            for x, y in zip(one, made, strict=True):
                by = scipy.ndimage.map_coordinates(x.numpy(), at, order=1, mode=edge)
                close(y, torch.tensor(by))

    def test_affine_takes_points_to_their_sources(self):
        images = torch.zeros(2, 1, 24, 30, dtype=torch.float64)
        sources = corners_of(images)
        assert sources.tolist() == [[23, 20], [23, 4], [7, 4]]
        points = sources + torch.tensor([[2, 1], [-1, 0], [1, 3]])
        found = affine(images, points.expand(2, 3, 2), sources)
        at = points.long().unbind(-1)
        for one in found:
            close(one[at[1], at[0]], sources)
        close(affine(images, sources.expand(2, 3, 2), sources)[1], places_of(images), 1e-9)

    def test_elastic_leaves_images_alone_where_nothing_moves(self):
        images = drawn((2, 3, 12, 9))
        found = CORRUPTIONS["elastic_transform"].fn(images, seeded(0), 0.0, 0.1, 0.0)
        close(found, images, 1e-5)


class TestWeather:
    def test_plasma_is_the_mean_of_four_points_and_a_number(self):
        size, decay = 8, 1.7
        generator, step, reach = seeded(3), size, 100.0
        expected = np.zeros((size, size))

        def fill(ys: list[int], xs: list[int], around: Any) -> None:
            more = torch.empty(1, len(ys), len(xs)).uniform_(
                -(reach**2), reach**2, generator=generator
            )
            old = expected.copy()
            for (i, y), (j, x) in product(enumerate(ys), enumerate(xs)):
                four = [old[(y + down) % size, (x + across) % size] for down, across in around]
                expected[y, x] = sum(four) / 4 + more[0, i, j]

        while step > 1:
            half, whole = step // 2, list(range(0, size, step))
            mids = [place + half for place in whole]
            fill(mids, mids, list(product((-half, half), repeat=2)))
            cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
            fill(whole, mids, cross)
            fill(mids, whole, cross)
            step, reach = half, reach / decay
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        found = plasma(torch.zeros(1, size, size), decay, seeded(3))
        close(found[0], torch.tensor(expected))

    def test_fog_keeps_the_largest_entry(self):
        images = drawn((2, 3, 20, 9))
        found = CORRUPTIONS["fog"].fn(images, seeded(0), 1.5, 2.0)
        most = images.amax((1, 2, 3), keepdim=True)
        haze = (found * (most + 1.5) / most - images) / 1.5
        assert (found <= most + 1e-6).all()
        assert haze.min() >= -1e-6
        assert haze.max() <= 1 + 1e-6
        close(haze[:, 0], haze[:, 2])

    def test_snow_whitens_where_no_flake_falls(self):
        images = drawn((2, 3, 9, 9))
        kept, still = 0.8, (0.0, 0.1, 1.5, 9.0, 6, 2.0)
        found = CORRUPTIONS["snow"].fn(images, seeded(0), *still, kept)
        red, green, blue = images.unbind(1)
        grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
        close(found, kept * images + (1 - kept) * torch.maximum(images, 1.5 * grey + 0.5))

    def test_flakes_fall_twice(self):
        images = torch.zeros(2, 1, 16, 12)
        flakes = CORRUPTIONS["snow"].fn(images, seeded(0), 0.3, 0.3, 1.25, 0.65, 6, 3.0, 1.0)
        assert flakes.max() > 0
        close(flakes, flakes.rot90(2, (2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_of_the_model_changes_nothing(name: str):
    """Corruptions are computed as ever where a network answers in bfloat16."""
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, within = (torch.Generator().manual_seed(1) for _ in range(2))
    expected = CORRUPTIONS[name](images, 3, plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(CORRUPTIONS[name](images, 3, within), expected)
