"""What is measured, and which way is better."""

from typing import Literal, NamedTuple

from xformopt.refused import Refused

Mode = Literal["min", "max"]
Scale = Literal["linear", "log"]


class Metric(NamedTuple):
    """A figure by its name: whether less or more of it is better, and how it is drawn.

    No figure is better than the `limit`, if it has one.

    >>> accuracy = Metric("accuracy", "max")
    >>> accuracy.better(0.9, 0.8), accuracy.on("valid").name
    (True, 'valid_accuracy')
    """

    name: str
    mode: Mode = "min"
    scale: Scale = "linear"
    limit: float | None = None

    def better(self, new: float, old: float) -> bool:
        """Return whether `new` beats `old`."""
        return new > old if self.mode == "max" else new < old

    def check_target(self, key: str, target: float | None) -> None:
        """Refuse a target that it cannot come up to."""
        if target is not None and self.limit is not None and self.better(target, self.limit):
            rule = f"at {'most' if self.mode == 'max' else 'least'} {self.limit:g} for {self.name}"
            raise Refused(key, rule, target)

    def on(self, split: str) -> "Metric":
        """Return the same on a part of the data; on "" it is itself."""
        return self._replace(name=f"{split}_{self.name}") if split else self
