"""Attacks stay in their set, find what a closed form says, and as much as torchattacks finds."""

import pickle
import warnings
from typing import Any

import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

from xformopt import perturbations as P
from xformopt import transforms as T
from xformopt.perturbations import ATTACKS, Attack, AttackWarning
from xformopt.perturbations.losses import LOSSES
from xformopt.perturbations.pgd import climb
from xformopt.perturbations.problem import Problem
from xformopt.perturbations.worst import worst_of
from xformopt.refused import Refused

QUICK = {"steps": 4, "queries": 20}
RADII = {"linf": 0.1, "l2": 1.0, "l1": 3.0, "nuclear": 1.0}
STILL = {"random_start": False}
NAMES = sorted(ATTACKS)
Digits = tuple[nn.Module, Tensor, Tensor]


def quick(name: str, **settings: Any) -> Attack:
    """An attack of few steps."""
    known = ATTACKS[name].settings
    return ATTACKS[name](**{k: v for k, v in QUICK.items() if k in known}, **settings)


def sizes(moved: Tensor, norm: str) -> Tensor:
    """The size of each perturbation, shape `(N, C, H, W)`; of matrices, that of each channel."""
    if norm == "nuclear":
        return torch.linalg.matrix_norm(moved.double(), "nuc")
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    return torch.linalg.vector_norm(moved.double().flatten(1), order, dim=1)


@pytest.fixture(scope="module")
def digits() -> Digits:
    """A network that was trained on digits, and those that it was not."""
    held: Any = load_digits()
    images = torch.tensor(held.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(held.target)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(8):
        for batch in torch.randperm(1300).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    return net.eval(), images[1300:], labels[1300:]


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((net(images).argmax(1) == labels).float().mean())


class Linear(nn.Module):
    """Two classes, of which the second wins where ⟨w, x⟩ is above a bound."""

    def __init__(self, weight: Tensor, bound: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bound = nn.Parameter(weight), bound

    def forward(self, images: Tensor) -> Tensor:
        score = (images * self.weight).flatten(1).sum(1) - self.bound
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("name", NAMES)
@given(
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), *[st.integers(3, 6)] * 2),
    share=st.sampled_from([0.0, 1e-3, 0.3, 0.99]),
    seed=st.integers(0, 2**16),
    corners=st.booleans(),
)
@settings(max_examples=12)
def test_never_leaves_its_set(
    name: str, shape: tuple[int, ...], share: float, seed: int, corners: bool
):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=generator)
    images = images.round() if corners else images
    layer = nn.Linear(images[0].numel(), 5)
    layer.weight.data.normal_(generator=generator)
    net = nn.Sequential(nn.Flatten(), layer).eval()
    norm = ATTACKS[name].norm
    epsilon = share * {"linf": 1.0, "l2": 1.5, "l1": 9.0, "nuclear": 1.5}[norm]
    before = torch.get_rng_state()
    attack = quick(name, epsilon=epsilon, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttackWarning)
        with torch.no_grad():
            labels = net(images).argmax(1)
        attacked = attack(net, images, labels)
        assert torch.equal(attack(net, images, labels), attacked)
    moved = attack.ascend(net, images, labels, torch.Generator().manual_seed(seed))
    for answer in (attacked, moved):
        assert answer.min() >= 0
        assert answer.max() <= 1
        assert (sizes(answer - images, norm) <= epsilon * (1 + 1e-5) + 1e-6).all()
        assert epsilon or torch.equal(answer, images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("square")])
@given(seed=st.integers(0, 2**16))
@settings(max_examples=8)
def test_finds_the_best_of_a_linear_model(name: str, seed: int):
    """Where the box does not matter, the best gain is epsilon times the dual norm of w."""
    norm = ATTACKS[name].norm
    weight = torch.randn((1, 4, 4), generator=torch.Generator().manual_seed(seed))
    dual = {"linf": weight.abs().sum(), "l2": weight.norm(), "l1": weight.abs().max()}
    dual["nuclear"] = torch.linalg.matrix_norm(weight[0], 2)
    images, epsilon = torch.full((1, 1, 4, 4), 0.5), 0.2
    net = Linear(weight, bound=float(0.5 * weight.sum() + 2 * epsilon * dual[norm]))
    known = {"steps": 60, "step_size": 0.1}
    steps: dict[str, Any] = {k: v for k, v in known.items() if k in ATTACKS[name].settings}
    attack = ATTACKS[name](epsilon=epsilon, **steps, **({"q": 1.0} if name == "pgd_l1" else {}))
    attacked = attack(net.eval(), images, torch.tensor([0]))
    gained = ((attacked - images) * weight).sum() / (epsilon * dual[norm])
    assert gained == pytest.approx(1.0, abs=0.03)
    assert gained <= 1 + 1e-5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_comes_near_it(norm: str):
    weight = torch.ones(1, 8, 8)
    net = Linear(weight, bound=64.0).eval()
    epsilon = RADII[norm]
    images = torch.full((1, 1, 8, 8), 0.5)
    attacked = ATTACKS[f"square_{norm}"](epsilon=epsilon, queries=1000)(
        net, images, torch.tensor([0])
    )
    best, share = (64 * epsilon, 0.9) if norm == "linf" else (8 * epsilon, 0.6)
    assert (attacked - images).sum() > share * best


def test_a_box_that_matters_is_used_exactly():
    images = torch.tensor([0.0, 0.05, 0.5, 0.97, 1.0]).view(1, 1, 1, 5)
    net = Linear(torch.tensor([-1.0, -1.0, 1.0, 1.0, 1.0]).view(1, 1, 5), bound=9.0)
    net.eval()
    attacked = P.pgd_linf(epsilon=0.1)(net, images, torch.tensor([0]))
    assert attacked.flatten().tolist() == pytest.approx([0.0, 0.0, 0.6, 1.0, 1.0], abs=1e-7)


class TestTorchattacks:
    """Of equal steps and radii."""

    def test_pgd_to_the_bit_from_equal_starts(self, digits: Digits):
        """By numbers that float32 holds, so that x + (x' - x) is x'."""
        net, images, labels = digits
        epsilon, size = 1 / 16, 1 / 128
        theirs = torchattacks.PGD(net, eps=epsilon, alpha=size, steps=9, random_start=False)
        expected = theirs(images, labels)
        problem = Problem(
            net, images, labels, norm="linf", epsilon=epsilon, loss="ce", targets=None,
            targeted=False, generator=torch.Generator(),
        )  # fmt: skip
        delta = problem.start(random=False)
        climb(problem, delta, [T.sign()], 9, size)
        assert torch.equal(images + delta, expected)
        assert (problem.broken >= (net(expected).argmax(1) != labels)).all()

    @pytest.mark.parametrize(
        ("name", "settings", "theirs"),
        [
            ("pgd_linf", STILL | {"steps": 20}, ("PGD", STILL | {"alpha": 0.0125, "steps": 20})),
            ("pgd_l2", STILL | {"steps": 20}, ("PGDL2", STILL | {"alpha": 0.125, "steps": 20})),
            ("mi_fgsm", {"steps": 10}, ("MIFGSM", {"alpha": 0.01, "steps": 10})),
            ("apgd_linf", {"steps": 40}, ("APGD", {"norm": "Linf", "steps": 40})),
            ("apgd_l2", {"steps": 40}, ("APGD", {"norm": "L2", "steps": 40})),
            (
                "apgd_linf",
                {"steps": 30, "loss": "dlr"},
                ("APGD", {"norm": "Linf", "steps": 30, "loss": "dlr"}),
            ),
            (
                "apgd_linf",
                {"steps": 20, "loss": "dlr", "targets": 3},
                ("APGDT", {"norm": "Linf", "steps": 20, "n_classes": 4}),
            ),
            ("square_linf", {"queries": 300}, ("Square", {"norm": "Linf", "n_queries": 300})),
            ("square_l2", {"queries": 300}, ("Square", {"norm": "L2", "n_queries": 300})),
        ],
    )
    def test_as_many_are_broken(
        self, digits: Digits, name: str, settings: dict[str, Any], theirs: tuple[str, Any]
    ):
        net, images, labels = digits
        epsilon = RADII[ATTACKS[name].norm]
        kind, own = theirs
        expected = getattr(torchattacks, kind)(net, eps=epsilon, **own)(images, labels)
        found = ATTACKS[name](epsilon=epsilon, **settings)(net, images, labels)
        theirs_holds, ours_holds = (accuracy(net, x, labels) for x in (expected, found))
        assert ours_holds <= theirs_holds + 0.012
        if not name.startswith("square"):  # whose squares lie at one place of all images there
            assert ours_holds >= theirs_holds - 0.03


class TestBudgets:
    """More of the same never finds less."""

    @pytest.mark.parametrize(
        ("name", "less", "more"),
        [
            ("pgd_linf", {"steps": 4, "step_size": 0.02}, {"steps": 12, "step_size": 0.02}),
            ("pgd_l2", {"steps": 4, "step_size": 0.2}, {"steps": 12, "step_size": 0.2}),
            ("fw_linf", {"steps": 4}, {"steps": 12}),
            ("apgd_linf", {"steps": 6}, {"steps": 6, "restarts": 3}),
            ("square_linf", {"queries": 20}, {"queries": 20, "restarts": 3}),
        ],
    )
    def test_breaks_what_less_breaks(
        self, digits: Digits, name: str, less: dict[str, Any], more: dict[str, Any]
    ):
        net, images, labels = digits
        epsilon = RADII[ATTACKS[name].norm]
        few, many = (
            net(ATTACKS[name](epsilon=epsilon, **budget)(net, images, labels)).argmax(1) != labels
            for budget in (less, more)
        )
        assert (many >= few).all()
        assert many.sum() > few.sum()

    def test_what_is_broken_is_left_alone(self, digits: Digits):
        net, images, labels = digits
        asked: list[int] = []
        hook = net.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
        try:
            P.pgd_linf(epsilon=0.1, steps=2, restarts=3)(net, images, labels)
        finally:
            hook.remove()
        whole, *rest = asked
        assert whole == len(images)
        assert len(rest) == 9
        assert whole > rest[0] > rest[3] >= rest[6]

    @pytest.mark.parametrize("name", ["square_linf", "square_l2"])
    def test_what_a_query_has_broken_is_left_alone(self, digits: Digits, name: str):
        net, images, labels = digits
        asked: list[int] = []

        def counting(x: Tensor) -> Tensor:
            asked.append(len(x))
            return net(x)

        found = ATTACKS[name](epsilon=2 * RADII[ATTACKS[name].norm], queries=60)(
            counting, images, labels
        )
        holds = net(found).argmax(1) == labels
        assert asked[1:] == sorted(asked[1:], reverse=True)
        assert len(images) > asked[1] > asked[-1] >= holds.sum()

    @pytest.mark.parametrize("loss", ["ce", "dlr"])
    def test_what_is_said_of_the_images_is_not_asked_again(self, digits: Digits, loss: str):
        net, images, labels = digits
        right = net(images).argmax(1) == labels
        asked: list[int] = []
        hook = net.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
        attack = P.pgd_linf(epsilon=0.1, steps=3, loss=loss, **STILL)
        try:
            found = attack(net, images, labels)
        finally:
            hook.remove()
        assert asked[:3] == [len(images), right.sum(), right.sum()]
        assert len(asked) == 4
        problem = Problem(
            net, images[right], labels[right], norm="linf", epsilon=0.1, loss=loss,
            generator=torch.Generator(),
        )  # fmt: skip
        attack.search(problem)
        same = (problem.images + problem.worst - found[right]).abs().flatten(1).amax(1) < 1e-6
        assert same.float().mean() > 0.99
        assert found[~right].equal(images[~right])

    def test_of_several_each_attacks_what_the_others_left(self, digits: Digits):
        net, images, labels = digits
        one, other = P.fgsm(epsilon=0.1), P.pgd_linf(epsilon=0.1, steps=10)
        both = worst_of([one, other])
        broken = [net(a(net, images, labels)).argmax(1) != labels for a in (one, other, both)]
        assert (broken[2] >= broken[0]).all()
        assert broken[2].sum() > broken[0].sum()
        assert repr(both) == "worst_of(fgsm(epsilon=0.1), pgd_linf(epsilon=0.1))"
        assert both.at(0.0)(net, images, labels).equal(images)


class TestWhereItIsCalled:
    """In any precision and mode of torch, and of models that write on what they are given."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_half_precision(self, name: str, dtype: torch.dtype):
        torch.manual_seed(0)
        images = torch.rand(60, 2, 5, 5).to(dtype)
        net = nn.Sequential(nn.Flatten(), nn.Linear(50, 3, bias=False)).to(dtype).eval()
        labels = net(images).argmax(1)
        attack = quick(name)
        moved = attack(net, images, labels)
        assert moved.dtype == dtype
        assert ((moved >= 0) & (moved <= 1)).all()
        rounded = 1 + 50 * torch.finfo(dtype).eps
        assert (sizes(moved - images, attack.norm) <= rounded * attack.epsilon).all()
        broken = (net(moved).argmax(1) != labels).sum()
        single = attack(net.float(), images.float(), labels)
        assert broken == pytest.approx((net(single).argmax(1) != labels).sum(), abs=6)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("outside", [False, True])
    def test_in_inference_mode(self, digits: Digits, name: str, outside: bool):
        net, images, labels = digits
        with torch.inference_mode():
            given = images[:40].clone()
        with torch.inference_mode(not outside):
            found = quick(name)(net, given, labels[:40])
        assert found.equal(quick(name)(net, images[:40], labels[:40]))

    @pytest.mark.parametrize("name", NAMES)
    def test_of_a_model_that_writes_on_its_input(self, digits: Digits, name: str):
        net, images, labels = digits
        given = images[:40].clone()
        found = quick(name)(lambda x: net(x.mul_(0.5)), given, labels[:40])
        assert given.equal(images[:40])
        assert found.equal(quick(name)(lambda x: net(0.5 * x), images[:40], labels[:40]))

    @pytest.mark.parametrize("name", ["pgd_linf", "fgsm"])
    def test_under_float16_gradients_are_found(self, name: str):
        torch.manual_seed(0)
        linear = nn.Linear(64, 10, bias=False).eval()
        images = torch.rand(200, 1, 8, 8)

        def sure(x: Tensor) -> Tensor:
            return 8 * linear(4 * x.flatten(1))

        labels = sure(images).argmax(1)
        with torch.autocast("cpu", torch.float16):
            moved = quick(name, epsilon=0.3)(sure, images, labels)
        assert (sure(moved).argmax(1) == labels).sum() <= 2

    def test_towards_several_from_the_images(self, digits: Digits):
        net, images, labels = digits
        attacks = [P.pgd_linf(epsilon=0.05, steps=3, targets=n, **STILL) for n in (1, 3)]
        one, three = (net(attack(net, images, labels)).argmax(1) != labels for attack in attacks)
        assert (three >= one).all()
        assert three.sum() > one.sum()

    def test_a_search_that_draws_nothing_may_begin_elsewhere(self, digits: Digits):
        net, images, labels = digits
        gradients: list[Tensor] = []

        def search(problem: Problem) -> None:
            delta = (0.5 - problem.images).sign() * 0.1
            gradients.extend(problem.ascent(delta)[1] for _ in range(2))

        Attack(search, norm="linf", epsilon=0.1, draws=False)(net, images, labels)
        assert gradients[0].equal(gradients[1])


class TestTargeted:
    def test_moves_towards_the_labels(self, digits: Digits):
        net, images, labels = digits
        targets = (labels + 1) % 10
        attacked = P.pgd_l2(epsilon=2.0, targeted=True)(net, images, targets)
        assert accuracy(net, attacked, targets) > 0.5

    @pytest.mark.parametrize("loss", LOSSES)
    def test_losses_rise_towards_the_target(self, loss: str):
        logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
        labels, target = torch.tensor([0]), torch.tensor([1])
        closer = logits + torch.tensor([[0.0, 1.5, 0.0, 0.0]])
        for chosen in (None, target):
            assert LOSSES[loss](closer, labels, chosen) > LOSSES[loss](logits, labels, chosen)


class TestWarnings:
    def test_a_model_in_training_mode(self, digits: Digits):
        net, images, labels = digits
        with pytest.warns(AttackWarning, match="the model is in training mode"):
            P.fgsm()(net.train(), images[:4], labels[:4])
        net.eval()

    def test_gradients_that_are_zero(self, digits: Digits):
        net, images, labels = digits

        def rounded(x: Tensor) -> Tensor:
            return net(x.round() + 0 * x)

        with pytest.warns(AttackWarning, match="the gradient was zero for .* of 497 images: try"):
            P.fgsm()(rounded, images, labels)

    def test_masked_gradients(self, digits: Digits):
        net, images, labels = digits

        def masked(x: Tensor) -> Tensor:
            return net((16 * x).round() / 16 + 1e-6 * x)

        white, black = P.fgsm(epsilon=0.1), P.square_linf(epsilon=0.2, queries=50)
        with pytest.warns(AttackWarning, match="broke .* that fgsm left: gradients may be masked"):
            worst_of([white, black])(masked, images, labels)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            worst_of([black, white])(masked, images, labels)

    def test_outputs_that_are_random_or_probabilities(self, digits: Digits):
        net, images, _ = digits
        assert P.remarks(net, images) == []
        (said,) = P.remarks(lambda x: net(x) + torch.rand(()), images)
        assert said.startswith("the outputs are random")
        (said,) = P.remarks(lambda x: net(x).softmax(1), images)
        assert said.startswith("the outputs are probabilities")


class TestRefuses:
    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"epsilon": -0.1}, "`epsilon` must be a finite number >= 0, got -0.1"),
            ({"epsilon": "8/zero"}, "`epsilon` must be a number >= 0, or a fraction as '8/255', g"),
            ({"epsilon": True}, "`epsilon` must be a number >= 0, or a fraction as '8/255', got T"),
            ({"steps": 0}, "`steps` of `pgd_linf` must be an int >= 1, got 0"),
            ({"step_size": -1.0}, "`step_size` of `pgd_linf` must be a number > 0 or None, got"),
            ({"loss": "hinge"}, "`loss` must be one of ce, dlr, margin, got 'hinge'"),
            ({"restarts": 0}, "`restarts` must be an int >= 1, got 0"),
            ({"targets": 2, "targeted": True}, "`targets` must be 0 where the labels are the"),
            ({"stepps": 3}, "`pgd_linf` has no setting `stepps`: did you mean `steps`"),
        ],
    )
    def test_settings(self, settings: dict[str, Any], said: str):
        with pytest.raises(Refused, match=said):
            P.pgd_linf(**settings)

    @pytest.mark.parametrize(
        ("images", "epsilon", "said"),
        [
            (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), 0.1, "`images` must be floating"),
            (torch.full((2, 1, 3, 3), 1.5), 0.1, r"`images` must lie in \[0, 1\], got entries"),
            (torch.zeros(2, 1, 3, 3), 8, "`epsilon` must be at most 1, by which the linf ball"),
        ],
    )
    def test_images_and_balls(self, images: Tensor, epsilon: float, said: str):
        with pytest.raises(Refused, match=said):
            P.pgd_linf(epsilon=epsilon)(lambda x: x.flatten(1), images, torch.tensor([0, 1]))

    def test_towards_more_classes_than_there_are(self, digits: Digits):
        net, images, labels = digits
        with pytest.raises(Refused, match="`targets` must be less than the number of classes, 10"):
            P.apgd_linf(targets=10)(net, images[:2], labels[:2])

    @pytest.mark.parametrize(("label", "targeted"), [(10, False), (-1, False), (10, True)])
    def test_labels_without_an_output(self, digits: Digits, label: int, targeted: bool):
        net, images, _ = digits
        labels = torch.tensor([3, label])
        with pytest.raises(Refused, match=f"`labels` must be from 0 to 9, .* got .*{label}"):
            P.pgd_linf(targeted=targeted)(net, images[:2], labels)

    def test_a_loss_that_needs_more_classes(self):
        images, labels = torch.zeros(2, 1, 1, 2), torch.tensor([0, 1])
        with pytest.raises(Refused, match="`loss` must be ce or margin for 2 classes, since dlr"):
            P.pgd_linf(loss="dlr")(lambda x: x.flatten(1), images, labels)


@pytest.mark.parametrize("name", NAMES)
def test_is_pickled_by_its_name(name: str):
    assert pickle.loads(pickle.dumps(ATTACKS[name])) is ATTACKS[name]


def test_one_function_adds_one():
    def nudged(problem: Problem, *, share: float = 0.5) -> None:
        problem.tried(problem.high * share)

    try:
        make = P.attack("linf", gradients=False)(nudged)
        assert ATTACKS["nudged"] is make
        images = torch.zeros(1, 1, 1, 2)
        moved = make(share=0.25, epsilon=0.5)(lambda x: x.flatten(1), images, torch.tensor([0]))
        assert torch.equal(moved, images + 0.25)
        with pytest.raises(Refused, match="there is an attack `nudged` already"):
            P.attack("linf")(nudged)
    finally:
        ATTACKS.pop("nudged")
