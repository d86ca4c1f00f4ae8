"""A part that is made by a call, with what its signature asks for."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from xformopt.refused import Refused


def called(key: str, make: Any, offered: Mapping[str, Any]) -> Any:
    """Call a function with what its signature asks for of what is offered; it may be built."""
    if isinstance(make, nn.Module):
        return make
    try:
        arguments = inspect.signature(make).parameters
    except (TypeError, ValueError) as error:
        raise Refused(
            key, "a function or class of Python, whose arguments are known", make
        ) from error
    set_already = getattr(make, "keywords", {})
    missing = [
        name
        for name, a in arguments.items()
        if a.default is a.empty
        and a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)
        and name not in offered
    ]
    if missing:
        raise Refused(
            f"{key}.{missing[0]}",
            f"given: this task offers {', '.join(offered) or 'nothing'}",
            None,
            f"choose another {key}, or set `+{key}.{missing[0]}=…`",
        )
    given = {k: v for k, v in offered.items() if k in arguments and k not in set_already}
    try:
        return make(**given)
    except Exception as error:
        error.add_note(f"full_key: {key}")
        raise


def name_of_made(make: Any, made: Any) -> str:
    """Return the name of the function or class that made a part; of a method, the part's class."""
    by = getattr(make, "func", make)
    return by.__name__ if inspect.isfunction(by) or inspect.isclass(by) else type(made).__name__
