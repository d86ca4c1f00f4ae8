"""Data sets: what is read is what was written, wherever it lies and however it is taken."""

import gzip
import struct
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from experiments.data import hub as hubs
from experiments.data.batches import Batches, in_order
from experiments.data.contract import Data, Images
from experiments.data.digits import digits
from experiments.data.files import as_pixels
from experiments.data.hub import hub
from experiments.data.idx import idx
from experiments.data.imagefolder import imagefolder
from experiments.data.mnist_5k import mnist_5k
from experiments.data.npz import npz
from experiments.data.split import from_arrays
from xformopt.refused import Refused

FASHION = Path("/usr/share/datasets/fashion-mnist")
QUICK = ("trainer.steps=3", "trainer.batch_size=16", "trainer.checkpoint=none")
PICTURES = ("task=classification", "data=imagefolder", "model=small_cnn", *QUICK)


@pytest.fixture(scope="session")
def whole() -> Images:
    """All digits, in the order in which their data set has them."""
    parts = digits().parts.values()
    return Images(torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts]))


def same(part: Images, other: Images) -> bool:
    equal = torch.equal(part.pixels, other.pixels)
    return equal and torch.equal(part.labels, other.labels)


class TestContract:
    def test_mean_and_deviation_are_those_of_the_pixels(self):
        data = digits()
        pixels = data.train.pixels.double() / 255
        assert data.mean == pytest.approx((pixels.mean().item(),))
        assert data.std == pytest.approx((pixels.std(correction=0).item(),))

    def test_labels_below_zero(self):
        images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
        part = Images(images, torch.tensor([0, -1]))
        with pytest.raises(Refused, match="`train` of the data set x must have classes from 0 on"):
            Data("x", part, part, part)

    def test_classes_without_images_count(self):
        part = Images(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
        assert Data("x", part, part, part, names=("a", "b", "c")).classes == 3


class TestShipped:
    def test_mnist_5k(self):
        data = mnist_5k()
        assert [len(part) for part in data.parts.values()] == [3600, 400, 1000]
        assert data.shape == (1, 28, 28)
        assert data.test.labels.bincount().tolist() == [100] * 10
        assert data.mean == pytest.approx((0.13,), abs=0.01)

    @pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not there")
    def test_fashion_mnist(self):
        data = idx(str(FASHION), valid=0.1)
        assert [len(part) for part in data.parts.values()] == [54_000, 6_000, 10_000]
        assert data.mean == pytest.approx((0.2860,), abs=1e-3)
        assert data.std == pytest.approx((0.3530,), abs=1e-3)


class TestIdx:
    def write(self, folder: Path, begin: str, part: Images, zipped: bool) -> None:
        images, labels = part.pixels[:, 0].numpy(), part.labels.numpy().astype(np.uint8)
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
            held = head + array.tobytes()
            path = folder / f"{begin}-{name}{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(held) if zipped else held)

    @pytest.mark.parametrize("zipped", [False, True])
    def test_reads_what_was_written(self, tmp_path: Path, zipped: bool):
        held = digits()
        self.write(tmp_path, "train", held.train, zipped)
        self.write(tmp_path, "t10k", held.test, zipped)
        data = idx(str(tmp_path), valid=0.1)
        assert same(data.test, held.test)
        assert len(data.train) + len(data.valid) == len(held.train)

    def test_a_file_that_is_cut_off(self, tmp_path: Path):
        held = digits()
        self.write(tmp_path, "train", held.train, zipped=False)
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(Refused, match=r"train-images-idx3-ubyte` is no idx file of bytes, or"):
            idx(str(tmp_path))

    def test_a_folder_without_them(self, cli: Any, tmp_path: Path):
        result = cli("data=mnist", f"data.root={tmp_path}", *QUICK)
        assert result.status == 2
        assert "`data.root` must be a folder that holds `train-images-idx3-ubyte`" in result.err


class TestNpz:
    def save(self, path: Path, **arrays: Any) -> str:
        np.savez(path, **arrays)
        return str(path)

    def test_layouts_and_names(self, tmp_path: Path, whole: Images):
        pixels, labels = whole.pixels.numpy(), whole.labels.numpy()
        layouts = {
            "nhw": {"x_train": pixels[:, 0], "y_train": labels},
            "nhwc": {"train_images": pixels.transpose(0, 2, 3, 1), "train_labels": labels[:, None]},
            "nchw": {"x": pixels, "y": labels},
        }
        data = [npz(self.save(tmp_path / f"{n}.npz", **held)) for n, held in layouts.items()]
        for other in data[1:]:
            for part, first in zip(other.parts.values(), data[0].parts.values(), strict=True):
                assert same(part, first)

    @pytest.mark.parametrize(
        ("labels", "rule"),
        [
            (np.array(["a", "b"]), "a file with `y` of integers, got '<U1'"),
            (np.ones(2) / 2, "a file with `y` of integers, got 'float64'"),
            (np.array([[1], None], dtype=object), r"a \.npz file of arrays of numbers, got"),
        ],
    )
    def test_labels_that_are_no_integers(self, tmp_path: Path, labels: Any, rule: str):
        pixels = np.zeros((2, 4, 4), np.uint8)
        file = self.save(tmp_path / "odd.npz", x=pixels, y=labels)
        with pytest.raises(Refused, match=f"`file` must be {rule}"):
            npz(file)

    def test_a_file_that_is_none(self, tmp_path: Path):
        (tmp_path / "none.npz").write_text("export A=1")
        with pytest.raises(Refused, match=r"`file` must be a \.npz file of arrays of numbers, got"):
            npz(str(tmp_path / "none.npz"))

    def test_fewer_labels_than_images(self, tmp_path: Path):
        file = self.save(tmp_path / "few.npz", x=np.zeros((3, 4, 4), np.uint8), y=np.arange(2))
        with pytest.raises(
            Refused, match="`file` must be a file with as many `y` as `x`, 3, got 2"
        ):
            npz(file)

    def test_parts_that_are_there_are_kept(self, tmp_path: Path):
        held = digits()
        arrays = {
            f"{what}_{name}": array.numpy()
            for name, part in (("train", held.train), ("val", held.valid), ("test", held.test))
            for what, array in (("x", part.pixels), ("y", part.labels))
        }
        data = npz(self.save(tmp_path / "parts.npz", **arrays))
        assert all(
            same(part, other)
            for part, other in zip(data.parts.values(), held.parts.values(), strict=True)
        )
        assert data.name == "parts"

    def test_classes_without_images_are_noted(self, cli: Any, tmp_path: Path, whole: Images):
        file = self.save(tmp_path / "gaps.npz", x=whole.pixels.numpy(), y=2 * whole.labels.numpy())
        odd = f"{whole.labels.max()} of {1 + 2 * whole.labels.max()} classes: 1, 3"
        command = ("task=classification", "data=npz", f"data.file={file}", "model=mlp", *QUICK)
        plain, named = (
            cli(*command, *more).out
            for more in ((), ("data.names=[a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s]",))
        )
        way_out = "; `np.unique(labels, return_inverse=True)[1]` numbers those that occur\n"
        assert f"note: `data`: train has no image of {odd}, 5, 7, 9, 11, …{way_out}" in plain
        assert "classes: b, d, f, h, j, l, …\n" in named

    def test_names_may_be_numbers(self, whole: Images):
        numbers: Any = range(10)
        data = from_arrays("n", whole.pixels, whole.labels, valid=0.1, test=0.1, names=[*numbers])
        assert data.names == tuple("0123456789")

    @pytest.mark.parametrize("names", [None, 3, "abcdefghij", {"a": 1}])
    def test_names_that_are_no_list(self, whole: Images, names: Any):
        with pytest.raises(Refused, match="`names` must be a list of the names of the classes"):
            from_arrays("n", whole.pixels, whole.labels, valid=0.1, test=0.1, names=names)

    def test_names_are_one_for_each_class(self, cli: Any, tmp_path: Path, whole: Images):
        file = self.save(tmp_path / "named.npz", x=whole.pixels.numpy(), y=whole.labels.numpy())
        command = ("task=classification", "data=npz", f"data.file={file}", "model=mlp", *QUICK)
        result = cli(*command, "data.names=[a,b]")
        assert (
            "`data.names` must be a list of one for each of 10 classes, 0 to 9, got " in result.line
        )

    def test_refuses(self, cli: Any, tmp_path: Path):
        floats = self.save(tmp_path / "f.npz", x=np.zeros((9, 4, 4)), y=np.zeros(9, int))
        named = self.save(tmp_path / "n.npz", a=np.zeros(3))
        said = {
            floats: "`x` must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), got float",
            named: "`data.file` must be a file with `x_train` and `y_train` or `train_images` and",
            "no.npz": "`data.file` must be a file that is there, got 'no.npz'",
        }
        for file, line in said.items():
            result = cli("task=classification", "data=npz", f"data.file={file}", "model=small_cnn")
            assert result.status == 2
            assert line in result.err


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: Any, whole: Images) -> Path:
    """A folder of small pictures of ten classes, in several sizes and formats."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(300):
        label = int(whole.labels[number])
        image = Image.fromarray(whole.pixels[number, 0].numpy())
        folder = root / f"digit_{label}"
        folder.mkdir(exist_ok=True)
        if number % 3 == 0:
            image = image.resize((16, 12))
        image.save(folder / f"{number:04}.{'png' if number % 2 else 'bmp'}")
    (root / ".hidden").mkdir()
    return root


class TestImageFolder:
    def test_classes_are_folders(self, pictures: Path):
        data = imagefolder(str(pictures), size=8, channels=1)
        assert data.names == tuple(f"digit_{k}" for k in range(10))
        assert data.shape == (1, 8, 8)
        assert sum(map(len, data.parts.values())) == 300

    def test_pixels_of_that_size_are_as_they_are(self, pictures: Path, whole: Images):
        data = imagefolder(str(pictures), size=8, channels=1, gib=0)
        files: Any = data.train.pixels
        numbers = [int(path.stem) for path in files.paths]
        kept = [place for place, number in enumerate(numbers) if number % 3]
        there = files[torch.tensor(kept)]
        assert torch.equal(there, whole.pixels[[numbers[place] for place in kept]])

    def test_a_class_without_pictures(self, pictures: Path, tmp_path: Path):
        for path in pictures.iterdir():
            (tmp_path / path.name).symlink_to(path)
        (tmp_path / "digit_11").mkdir()
        with pytest.raises(Refused, match="pictures of each class, and `digit_11` has none"):
            imagefolder(str(tmp_path), size=8)

    @pytest.mark.parametrize("mode", ["I;16", "I"])
    def test_grey_levels_of_16_bit_are_scaled(self, mode: str):
        levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
        image = Image.fromarray(levels).convert(mode) if mode == "I" else Image.fromarray(levels)
        assert image.mode == mode
        assert as_pixels(image, None, 1).flatten().tolist() == [*range(256)]

    @pytest.mark.parametrize("array", [np.ones((2, 2), np.float32), -np.ones((2, 2), np.int32)])
    def test_grey_levels_without_a_scale(self, array: Any):
        with pytest.raises(ValueError, match="grey levels"):
            as_pixels(Image.fromarray(array), None, 1)

    def test_streamed_as_in_memory(self, cli: Any, pictures: Path):
        command = (*PICTURES, f"data.root={pictures}", "data.size=8", "augment=[crop,flip]")
        held, streamed = (cli(*command, f"data.gib={gib}") for gib in (2, 0))
        assert held.status == streamed.status == 0, streamed.err
        figures = [[{**line, "seconds": 0} for line in run.metrics] for run in (held, streamed)]
        assert figures[0] == figures[1]
        assert held.read("summary.json")["task"] == pictures.name

    def test_parts_by_their_folders(self, pictures: Path, tmp_path: Path):
        for part in ("train", "val"):
            (tmp_path / part).symlink_to(pictures)
        data = imagefolder(str(tmp_path), size=8, channels=1)
        assert len(data.test) == 300
        assert len(data.train) + len(data.valid) == 300

    @pytest.mark.parametrize("gib", [2.0, 0.0])
    def test_files_that_cannot_be_read_are_named(self, cli: Any, tmp_path: Path, gib: float):
        for label in "ab":
            (tmp_path / "root" / label).mkdir(parents=True)
            for number in range(8):
                image = Image.new("L", (8, 8), 10 * number)
                image.save(tmp_path / "root" / label / f"{number}.png")
        for name in ("a/8.png", "b/9.png"):
            (tmp_path / "root" / name).write_bytes(b"no picture")
        result = cli(*PICTURES, f"data.root={tmp_path}/root", f"data.gib={gib}", "data.size=8")
        assert result.status == 2
        (line,) = result.err.splitlines()
        assert f"`{tmp_path}/root/a/8.png` (UnidentifiedImageError)" in line
        assert line.endswith("; mend them or take them away")
        assert gib == 0 or "b/9.png" in line

    def test_refuses(self, cli: Any, tmp_path: Path):
        result = cli(*PICTURES, f"data.root={tmp_path}/no")
        assert "`data.root` must be a folder that is there, got" in result.err
        result = cli(*PICTURES, f"data.root={tmp_path}")
        assert "`data.root` must be a folder of folders of pictures, one for each" in result.err


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of CIFAR-10 as the hub lays it out, with its columns and splits; images of noise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    root = tmp_path / "cifar10"
    (root / "plain_text").mkdir(parents=True)
    features = Features({"img": ImageFeature(), "label": ClassLabel(names=["cat", "dog", "ship"])})
    draw = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 30)):
        images = [draw.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(count)]
        rows = {"img": list(map(Image.fromarray, images)), "label": [k % 3 for k in range(count)]}
        file = root / f"plain_text/{split}-00000-of-00001.parquet"
        Dataset.from_dict(rows, features).to_parquet(file)
    listed = [
        f"  - split: {split}\n    path: plain_text/{split}-*\n" for split in ("train", "test")
    ]
    config = "configs:\n- config_name: plain_text\n  data_files:\n" + "".join(listed)
    (root / "README.md").write_text(f"---\n{config}---\n")
    return root


class TestHub:
    def test_the_preset_on_a_local_copy(self, cli: Any, local_hub: Path):
        bf16 = ("trainer.precision=bf16", "model.width=8", "augment=[crop,flip,cutout]")
        result = cli("task=cifar10", f"data.name={local_hub}", *bf16, *QUICK)
        assert result.status == 0, result.err
        assert result.read("summary.json")["task"] == "cifar10"
        assert len(list((local_hub.parent / "cache/xformopt").iterdir())) == 1

    def test_is_decoded_once(self, local_hub: Path, monkeypatch: Any):
        first = hub(str(local_hub))
        assert first.names == ("cat", "dog", "ship")
        assert first.shape == (3, 32, 32)
        monkeypatch.setattr(hubs, "_made", lambda key: pytest.fail("it was decoded again"))
        again = hub(str(local_hub))
        for part, other in zip(first.parts.values(), again.parts.values(), strict=True):
            assert same(part, other)
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(local_hub.parent / "cache"))
        assert hub(str(local_hub), size=16, channels=1).shape == (1, 16, 16)

    def test_columns_and_splits(self, local_hub: Path):
        data = hub(str(local_hub), splits={"train": "test"})
        assert sum(map(len, data.parts.values())) == 30
        with pytest.raises(Refused, match="`splits` must be of the splits of the set: train, test"):
            hub(str(local_hub), splits={"train": "extra"})
        with pytest.raises(Refused, match="`label` must be a column: img, label, got 'class'"):
            hub(str(local_hub), label="class")

    def test_without_network(self, cli: Any, monkeypatch: Any):
        def unreachable(*_: Any, **__: Any) -> None:
            raise ConnectionError("Couldn't reach the Hub\nmore")

        monkeypatch.setattr(datasets, "load_dataset", unreachable)
        result = cli("data=cifar100", *QUICK)
        assert result.status == 2
        assert result.err == (
            "error: `data.name` must be a set that can be loaded (Couldn't reach the Hub), got "
            "'uoft-cs/cifar100'; run once where the hub can be reached, or name a local copy, laid "
            "out as there\n"
        )


class TestBatches:
    def test_a_step_is_the_same_wherever_one_begins(self):
        data = digits()
        batches = Batches(data.train, 100, seed=3)
        steps = [batches.at(step) for step in range(30)]
        for step in (17, 4, 29):
            images, labels = Batches(data.train, 100, seed=3).at(step)
            assert torch.equal(images, steps[step][0])
            assert torch.equal(labels, steps[step][1])
            assert torch.equal(batches.at(step)[1], steps[step][1])

    def test_an_epoch_is_each_image_once(self):
        data = digits()
        batches = Batches(data.train, 100, seed=0)
        labels = torch.cat([batches.at(step)[1] for step in range(batches.per_epoch)])
        assert torch.equal(labels.bincount(), data.train.labels.bincount())

    def test_large_images_are_judged_in_small_batches(self):
        images = Images(torch.zeros(30, 3, 512, 512, dtype=torch.uint8), torch.arange(30))
        assert max(len(labels) for _, labels in in_order(images)) == 5
