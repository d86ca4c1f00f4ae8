"""What a refused setting is refused with: its key, the rule, the value and the way out."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Refused(ValueError):
    """A setting that breaks a rule.

    Args:
        key: the setting, as its owner knows it; "" where no single one is at fault.
        rule: what it must be, in words.
        value: what it is.
        way_out: what to do.
        of: the owner, `Adam`.
        part: where the owner stands in the config of an optimizer: `inner`, `transforms.top_q`,
            `routes.hidden.inner`; "" for the optimizer itself.
        says: what is said, where that is not made of rule and value. A sentence alone, as any
            exception takes it, is this, and about no key.

    >>> print(Refused("steps", "an int >= 1 or null", -4, "leave it out"))
    `steps` must be an int >= 1 or null, got -4; leave it out
    >>> error = Refused("lr", "a number >= 0", -1, of="Adam", part="inner")
    >>> print(error, error.path)
    `lr` of Adam must be a number >= 0, got -1 inner.lr
    >>> print(error.under("optim"))
    `optim.inner.lr` of Adam must be a number >= 0, got -1
    """

    def __init__(
        self,
        key: str,
        rule: str = "",
        value: Any = None,
        way_out: str = "",
        *,
        of: str = "",
        part: str = "",
        says: str = "",
    ) -> None:
        """Keep the fields, and say what is wrong."""
        if not (rule or says):
            key, says = "", key
        self.key, self.rule, self.value, self.way_out = key, rule, value, way_out
        self.of, self.part, self.says = of, part, says
        self._shows_key = False
        super().__init__(self._message())

    @property
    def path(self) -> str:
        """The key in the config of an optimizer: `inner.lr`, `transforms.top_q.q`."""
        return dotted(self.part, self.key)

    def under(self, prefix: str) -> "Refused":
        """Return the same of the key `prefix.path`, for whoever knows where the config stands.

        A key that begins so already stays.
        """
        made = copy.copy(self)
        begins = self.path.startswith(f"{prefix}.")
        made.key, made.part = self.path if begins else dotted(prefix, self.path), ""
        made._shows_key = True
        made.args = (made._message(),)
        return made

    def _message(self) -> str:
        if self.says:
            return f"`{self.key}`: {self.says}" if self._shows_key else self.says
        owner = f" of {self.of}" if self.of else ""
        way_out = f"; {self.way_out}" if self.way_out else ""
        return f"`{self.key}`{owner} must be {self.rule}, got {self.value!r}{way_out}"


class RefusedType(Refused, TypeError):
    """The same for a value of the wrong type, or an unknown setting: a `TypeError` as in Python."""


def anew(error: TypeError | ValueError, says: str) -> Refused:
    """Return the refusal that an error is, in other words; its fields, if it has some, stay."""
    if not isinstance(error, Refused):
        return (RefusedType if isinstance(error, TypeError) else Refused)(says)
    made = copy.copy(error)
    made.says, made.args = says, (says,)
    return made


@contextmanager
def standing_in(part: str) -> Iterator[None]:
    """Note of what is refused within that it stands in a part of the config."""
    try:
        yield
    except Refused as error:
        error.part = dotted(part, error.part)
        raise


@contextmanager
def under(prefix: str) -> Iterator[None]:
    """Say of what is refused within, of which key it is: `prefix.path`."""
    try:
        yield
    except Refused as error:
        raise error.under(prefix) from None


def dotted(*names: str) -> str:
    """Return the names that are given as one key.

    >>> dotted("optim", "", "lr")
    'optim.lr'
    """
    return ".".join(filter(None, names))


def check_count(key: str, value: Any, *, least: int = 1, optional: bool = False) -> None:
    """Refuse a value that is no int >= `least`, nor None where that is allowed.

    >>> check_count("steps", None, optional=True)
    """
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Refused(key, f"an int >= {least}{' or null' if optional else ''}", value)
