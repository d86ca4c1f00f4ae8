"""Hydra's errors in our words: what is wrong, where, and the way out."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from experiments.cli.command import MANY
from experiments.cli.groups import acting, groups, having, options
from experiments.cli.importing import missing_of
from experiments.cli.said import joined
from xformopt.refused import Refused
from xformopt.text import close_matches


def in_our_words(error: BaseException) -> str | None:
    """Return one line for an error of Hydra's; None for any other."""
    return next((say(error) for kind, say in TABLE.items() if isinstance(error, kind)), None)


def _unparsed(error: BaseException) -> str:
    said = joined(str(error).partition("See https")[0])
    return f"{said}; is every bracket and quote closed, and the argument quoted for the shell?"


def _missing_option(error: MissingConfigException) -> str:
    missing = re.search(r"Could not (?:find|load) '([^']+)'", str(error))
    if not missing:
        return joined(str(error).partition("Config search path")[0])
    group, _, option = missing[1].rpartition("/")
    known = list(error.options or options(group))
    elsewhere = [g for g in sorted(groups()) if g != group and option in options(g)]
    meant = " or ".join(f"`{_choice(other, option)}`" for other in elsewhere)
    hint = f"did you mean {meant}?" if meant else _close(option, known)
    return f"`{group}={option}`: there is no such option; {hint}"


def _choice(group: str, option: str) -> str:
    return f"{group}=[{option}]" if group in MANY else f"{group}={option}"


def _composition(error: ConfigCompositionException) -> str:
    cause = error.__cause__
    key = re.search(r"Could not (?:override|append to config) '?([^'\s]+?)'?\.(?:\s|$)", str(error))
    deleted = re.search(r"Could not delete from config. '([^']+)'", str(error))
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        unknown = isinstance(cause, ConfigKeyError | ConfigAttributeError)
        if unknown and cause.parent_node is not None:
            typed = key[1] if key else str(cause.full_key)
            return _not_read(cause, typed) or _wrong_key(cause, cause.parent_node)
        return f"`{cause.full_key}`: {_plain(str(cause).splitlines()[0])}"
    if deleted and "." in deleted[1]:
        return f"`~{deleted[1]}`: there is nothing to delete; what is null or unset is off already"
    key = key or deleted
    if key:
        name = key[1].rpartition("@")[0] or key[1]
        if name in groups():
            return f"`{key[1]}`: nothing reads this group under what is chosen of the others"
        return f"`{key[1]}`: there is no such key or group; {_close(name, groups())}"
    return joined(f"{error}: {cause}" if cause else str(error))


def _plain(said: str) -> str:
    """Return OmegaConf's words without its classes."""
    if "is not Optional" in said:
        return "it must have a value, got null"
    if "does not support deletion" in said:
        return "it cannot be deleted; choose an option, or `[]` for no transforms"
    if re.search(r"is not a .*ListConfig, list,? or tuple", said):
        return "it must be a list"
    if "Cannot merge" in said:
        return "it must be a mapping of keys to values"
    return said


def _not_read(cause: OmegaConfBaseException, typed: str) -> str:
    """Say which keys act in place of one that is not there, as `optim.inner.lr` for `lr`."""
    if str(cause.full_key).count(".") > 1:
        return ""
    root = cause.parent_node._get_root() if cause.parent_node is not None else None
    found = acting(root, typed) or (acting(root, str(cause.full_key)) if "." in typed else "")
    return f"`{typed}`: nothing reads this key; {found}" if found else ""


def _wrong_key(cause: OmegaConfBaseException, parent: Any) -> str:
    key, full_key = str(cause.key), str(cause.full_key)
    known = [str(k) for k in parent] if hasattr(parent, "__iter__") else []
    known = [k for k in known if not k.startswith("_")]
    if full_key == key:
        known = list(dict.fromkeys([*known, *groups()]))
    group = full_key.rpartition(".")[0].replace(".", "/")
    others = [f"`{_choice(group, name)}`" for name in having(group, key)] if group else []
    if others:
        return f"`{full_key}`: what is chosen has no such key; {' or '.join(others[:3])} has it"
    way_out = _close(key, known) if known else f"`+{full_key}=…` adds it"
    return f"`{full_key}`: there is no such key; {way_out}"


def _instantiation(error: InstantiationException) -> str:
    where = re.search(r"full_key: (\S+)", str(error))
    cause = error.__cause__ or error.__context__
    if where and isinstance(cause, Refused) and cause.rule and not cause.of:
        return str(cause.under(where[1]))
    said = str(error).partition("full_key:")[0] if cause is None else str(cause)
    missing = re.search(r"Error (?:locating target|loading) '([^']+)'", str(error))
    if missing:
        said = f"`{missing[1]}` cannot be imported: {missing_of(missing[1]) or cause or said}"
        said = said.partition(", set env var")[0]
    prefix = f"`{where[1]}`: " if where else ""
    return prefix + joined(said)


def _close(name: str, known: list[str]) -> str:
    if not get_close_matches(name, known, cutoff=0.5):
        last = {k.rpartition("/")[2]: k for k in known}
        close = get_close_matches(name.rpartition("/")[2], list(last), cutoff=0.5)
        if close:
            return close_matches(last[close[0]], known)
    return close_matches(name, known)


def _of_a_key(error: OmegaConfBaseException) -> str:
    said = _plain(str(error).splitlines()[0])
    return f"`{error.full_key}`: {said}" if error.full_key else said


TABLE: dict[type[BaseException], Callable[[Any], str]] = {
    MissingConfigException: _missing_option,
    InstantiationException: _instantiation,
    ConfigCompositionException: _composition,
    OverrideParseException: _unparsed,
    OmegaConfBaseException: _of_a_key,
}
