"""Augmentations: laws over all that are registered."""

from typing import Any

import pytest
import torch
from hydra_zen import instantiate

from experiments.cli.groups import options, stored
from experiments.cli.store import fill_store
from experiments.data.augmentations import crop, cutout, flip
from experiments.data.batches import Batches
from experiments.data.digits import digits
from experiments.data.draws import generator
from xformopt.refused import Refused

fill_store()


@pytest.mark.parametrize("name", options("augment"))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10)])
class TestLaws:
    def changed(self, name: str, shape: tuple[int, ...], step: int) -> tuple[Any, Any]:
        images = torch.rand(64, *shape, generator=generator(0, "images"))
        change = instantiate(stored("augment", name))
        return images, change(images.clone(), generator(0, name, step))

    def test_keep_shape_and_range(self, name: str, shape: tuple[int, ...]):
        images, changed = self.changed(name, shape, 0)
        assert changed.shape == images.shape
        assert changed.dtype == images.dtype
        assert 0 <= changed.min() <= changed.max() <= 1
        assert not torch.equal(changed, images)

    def test_draw_from_the_generator_alone(self, name: str, shape: tuple[int, ...]):
        first, again, other = (self.changed(name, shape, step)[1] for step in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_a_crop_is_a_window_of_the_padded_image():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    seen = {
        tuple(crop(image, generator(0, "x", k), padding=1).flatten().tolist()) for k in range(99)
    }
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")[0, 0]
    windows = {
        tuple(padded[y : y + 4, x : x + 4].flatten().tolist()) for y in range(3) for x in range(3)
    }
    assert seen == windows


def test_a_flip_mirrors_about_half():
    images = torch.rand(1000, 1, 1, 3)
    flipped = flip(images, generator(0, "x"))
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    as_before = (flipped == images).flatten(1).all(1)
    assert torch.all(mirrored | as_before)
    assert 400 < int(mirrored.sum()) < 600


def test_a_cutout_is_a_square():
    changed = cutout(torch.zeros(200, 1, 9, 9), generator(0, "x"), size=3) == 0.5
    rows, columns = changed.any(3).sum(2), changed.any(2).sum(2)
    assert int(rows.max()) == int(columns.max()) == 3
    assert torch.equal(changed.flatten(1).sum(1), (rows * columns).flatten())


def test_batches_change_at_each_step_and_not_by_where_one_begins():
    data = digits()
    plain, changed = (Batches(data.train, 50, 0, augment=a) for a in ({}, {"flip": flip}))
    assert torch.equal(plain.at(3)[1], changed.at(3)[1])
    assert not torch.equal(plain.at(3)[0], changed.at(3)[0])
    again = Batches(data.train, 50, 0, augment={"flip": flip})
    assert torch.equal(again.at(3)[0], changed.at(3)[0])


class TestOnTheCommandLine:
    def test_trains(self, cli: Any):
        short = ("trainer.steps=4", "trainer.checkpoint=none")
        plain, other = (
            cli(*short, *more) for more in ((), ("augment=[crop]", "augment.crop.padding=1"))
        )
        assert other.status == 0, other.err
        assert plain.metrics[-1]["loss"] != other.metrics[-1]["loss"]

    def test_is_refused_on_a_toy(self, cli: Any):
        result = cli("task=beale", "augment=[flip]")
        assert result.status == 2
        assert "`augment` must be [] for a task that reads no data, got 'flip'" in result.err


def test_crop_refuses_to_reflect_more_than_there_is():
    images, random = torch.rand(2, 1, 8, 8), generator(0, "crop")
    with pytest.raises(Refused, match="`padding` must be less than the sides of the images, 8 × 8"):
        crop(images, random, padding=8)
    assert crop(images, random, padding=8, mode="replicate").shape == images.shape
