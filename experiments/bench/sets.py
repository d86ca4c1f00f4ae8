"""The parameter sets that are measured, as lists of shapes."""

Shapes = list[tuple[int, ...]]


def resnet18() -> Shapes:
    """Return the 62 tensors of a ResNet-18 for ten classes, 11.2 M entries.

    >>> from math import prod
    >>> len(resnet18()), sum(map(prod, resnet18()))
    (62, 11181642)
    """
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for out in (64, 128, 256, 512):
        for block in range(2):
            into = width if block == 0 else out
            shapes += [(out, into, 3, 3), (out,), (out,), (out, out, 3, 3), (out,), (out,)]
            if into != out:
                shapes += [(out, into, 1, 1), (out,), (out,)]
        width = out
    return [*shapes, (10, 512), (10,)]


def small() -> Shapes:
    """Return a thousand matrices of 64 × 64."""
    return [(64, 64)] * 1000


def tiny() -> Shapes:
    """Return ten thousand matrices of 8 × 8."""
    return [(8, 8)] * 10_000


def vit_tiny() -> Shapes:
    """Return the 148 tensors of a ViT-tiny without its head, 5.5 M entries.

    >>> from math import prod
    >>> len(vit_tiny()), sum(map(prod, vit_tiny()))
    (148, 5524032)
    """
    d = 192
    block: Shapes = [
        (d,), (d,), (3 * d, d), (3 * d,), (d, d), (d,),
        (d,), (d,), (4 * d, d), (4 * d,), (d, 4 * d), (d,),
    ]  # fmt: skip
    return [(1, 1, d), (1, 197, d), (d, 3, 16, 16), (d,), *block * 12]


def large() -> Shapes:
    """Return one matrix of 4096 × 4096."""
    return [(4096, 4096)]


def transformer_matrices() -> Shapes:
    """Return the 24 matrices of six layers of a transformer of width 256."""
    d = 256
    return [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)] * 6


SETS = {
    "resnet18": resnet18,
    "1000 × (64, 64)": small,
    "10,000 × (8, 8)": tiny,
    "vit_tiny": vit_tiny,
    "4096 × 4096": large,
}
