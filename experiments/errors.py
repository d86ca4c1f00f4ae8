"""One clear line for each thing that can be wrong with a command."""

import re
from difflib import get_close_matches
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from xformopt.transforms.settings import close_matches

USER_ERRORS = (ValueError, TypeError, RuntimeError, OSError)


def is_user_error(error: BaseException) -> bool:
    """Return whether the command, rather than our code, is likely at fault."""
    hydra = (ConfigCompositionException, InstantiationException, OverrideParseException)
    return isinstance(error, (*USER_ERRORS, *hydra, OmegaConfBaseException))


def one_line(error: BaseException) -> str:
    """Say what is wrong, where, and the way out, in one line."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, InstantiationException):
        return _instantiation(error)
    if isinstance(error, ConfigCompositionException):
        return _composition(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if is_user_error(error) or isinstance(error, FloatingPointError):
        return _joined(str(error))
    return f"unexpected {type(error).__name__}: {_joined(str(error))}"


def _missing_option(error: MissingConfigException) -> str:
    missing = re.search(r"Could not (?:find|load) '([^']+)'", str(error))
    if not missing:
        return _joined(str(error).partition("Config search path")[0])
    group, _, option = missing[1].rpartition("/")
    options = list(error.options or _options(group))
    return f"`{group}={option}`: there is no such option; {_close(option, options)}"


def _composition(error: ConfigCompositionException) -> str:
    cause = error.__cause__
    key = re.search(
        r"Could not (?:override|append to config|delete[^']*) '?([^'\s]+?)'?\.", str(error)
    )
    parent = getattr(cause, "parent_node", None)
    if isinstance(cause, OmegaConfBaseException) and parent is not None and cause.full_key:
        return _wrong_key(cause, parent)
    if key:
        name = key[1].rpartition("@")[0] or key[1]
        return f"`{key[1]}`: there is no such key or group; {_close(name, _groups())}"
    return _joined(f"{error}: {cause}" if cause else str(error))


def _wrong_key(cause: OmegaConfBaseException, parent: Any) -> str:
    key, full_key = str(cause.key), str(cause.full_key)
    if "could not be converted" in str(cause) or "not a valid" in str(cause):
        return f"`{full_key}`: {str(cause).splitlines()[0]}"
    known = [str(k) for k in parent] if hasattr(parent, "__iter__") else []
    known = [k for k in known if not k.startswith("_")]
    if full_key == key:
        known = list(dict.fromkeys([*known, *_groups()]))
    return f"`{full_key}`: there is no such key; {_close(key, known)}"


def _instantiation(error: InstantiationException) -> str:
    where = re.search(r"full_key: (\S+)", str(error))
    cause = error.__cause__ or error.__context__
    said = str(error).partition("full_key:")[0] if cause is None else str(cause)
    if isinstance(cause, ImportError | AttributeError) or "Error locating target" in str(error):
        said = f"{str(error).partition('full_key:')[0]} {cause or ''}"
    prefix = f"`{where[1]}`: " if where else ""
    return prefix + _joined(said)


def _close(name: str, known: list[str]) -> str:
    if not get_close_matches(name, known, cutoff=0.5):
        last = {k.rpartition("/")[2]: k for k in known}
        close = get_close_matches(name.rpartition("/")[2], list(last), cutoff=0.5)
        if close:
            return close_matches(last[close[0]], known)
    return close_matches(name, known)


def _options(group: str) -> list[str]:
    """Return the options of a group of Hydra's store."""
    node: Any = ConfigStore.instance().repo
    for name in group.split("/"):
        node = node.get(name, {})
    return [
        name.removesuffix(".yaml") for name, child in node.items() if not isinstance(child, dict)
    ]


def _groups() -> list[str]:
    """Return the groups of Hydra's store that are ours."""
    found: list[str] = []

    def visit(node: dict[str, Any], path: str) -> None:
        for name, child in node.items():
            if isinstance(child, dict):
                found.append(f"{path}{name}")
                visit(child, f"{path}{name}/")

    repo = ConfigStore.instance().repo
    visit({k: v for k, v in repo.items() if not k.startswith(("hydra", "_"))}, "")
    return found


def _joined(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
