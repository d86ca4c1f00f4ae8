"""What an error says, in one line."""

from xformopt.refused import Refused

FULL_KEY = "full_key: "
"""The note of an error that says which key of the config it is about; Hydra 1.4 writes it too."""


def said(error: BaseException) -> str:
    """Return the message and its notes, the key that it is about before them.

    >>> error = ValueError("too much")
    >>> error.add_note("full_key: optim.inner")
    >>> said(error)
    '`optim.inner`: too much'
    """
    notes = list(getattr(error, "__notes__", ()))
    keys = [note.removeprefix(FULL_KEY) for note in notes if note.startswith(FULL_KEY)]
    others = [note for note in notes if not note.startswith(FULL_KEY)]
    key = max(keys, key=len, default="")
    if key and isinstance(error, Refused) and error.rule and not error.of:
        return joined("\n".join([str(error.under(key)), *others]))
    prefix = f"`{key}`: " if key else ""
    return prefix + joined("\n".join([str(error), *others]))


def joined(text: str) -> str:
    """Return lines as one, without the dots at their ends."""
    return "; ".join(line.strip().rstrip(".") for line in text.splitlines() if line.strip())
