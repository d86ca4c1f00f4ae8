"""The command line, before Hydra reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, ValueType

from experiments import register
from experiments.cli.groups import chain_of, groups, options, routes_of, way_out
from xformopt.refused import Refused

CHAIN = "optim/transforms"
INNER = "optim/inner"
MANY = (CHAIN, *register.MANY)
"""The groups of which several options may be chosen, in a list."""
MAY_BE_NULL = ("data", "model")
"""The groups of which nothing need be chosen."""
SWEEP = {"-m", "--multirun"}


def check_command(arguments: Iterable[str]) -> None:
    """Refuse a group that is given something other than the name of an option.

    Some take a list, without repetitions: Hydra would merge them.
    """
    overrides, known = overrides_of(arguments), groups()
    _check_routed(overrides)
    for override in overrides:
        if override.key_or_group in known and override.package is None:
            for value in _values(override):
                _check_choice(override.key_or_group, value)


def _check_routed(overrides: list[Override]) -> None:
    """Refuse to choose an inner optimizer or a chain for a recipe whose routes have their own."""
    chosen = [v for o in overrides if o.key_or_group == "optim" for v in _values(o)]
    for override in overrides:
        group = override.key_or_group
        if group in (INNER, CHAIN) and "routed" in chosen and override.package is None:
            raise Refused(
                f"`{group}`: nothing reads it under `optim=routed`, whose routes have their own; "
                "leave `optim=routed` out, and routes that have none take it"
            )
        routes = next((r for name in chosen if (r := routes_of(name))), None)
        if group in (INNER, CHAIN) and routes and override.package is None:
            key = group.rpartition("/")[2]
            shown = ", ".join(f"`optim.routes.{name}.{key}`" for name in routes[:3])
            raise Refused(
                f"`{group}`: nothing reads it, since each route of this recipe has its own; set "
                f"what stands in {shown}{', or `optim.lr_scale`' if group == INNER else ''}"
            )


def check_appended(optim: str, overrides: Iterable[str]) -> None:
    """Refuse to append a link that the chosen recipe has: it would be one and the same."""
    for override in overrides_of(overrides):
        appended = override.key_or_group == CHAIN and override.is_add() and not override.package
        names = [name for v in _values(override) for name in (v if isinstance(v, list) else [v])]
        again = next((n for n in names if n in chain_of(optim)), None) if appended else None
        if again:
            raise Refused(
                f"`+{CHAIN}={again}`: the recipe has this link already; give the second a name of "
                f"its own: `+{CHAIN}@optim.transforms.again={again}`"
            )


def for_each_job(arguments: list[str], listed: Iterable[str] = ()) -> list[str]:
    """Return the arguments so that what stands below a swept group is set in each job.

    Hydra would set it once, in the default option of that group, which may not have such a key:
    in `-m task=himmelblau,beale task.starts=16` the second becomes a sweep over a single value.
    So it would below a group of jobs that are `listed`. The flag comes first, since Hydra refuses
    it between overrides.
    """
    if not SWEEP & set(arguments):
        return arguments
    arguments = [argument for argument in arguments if argument not in SWEEP]
    parsed = {override.input_line: override for override in overrides_of(arguments)}
    swept = [o.key_or_group for o in parsed.values() if o.is_sweep_override()]
    swept += [o.key_or_group for o in overrides_of(listed)]
    below = tuple(f"{key.replace('/', '.')}." for key in swept if key in groups())
    each = [
        f"{parsed[a].get_key_element()}=choice({parsed[a].get_value_string()})"
        if a in parsed and _is_set_once(parsed[a]) and parsed[a].key_or_group.startswith(below)
        else a
        for a in arguments
    ]
    return ["--multirun", *each]


def with_choices(arguments: Iterable[str]) -> list[str]:
    """Return the arguments so that a group may be written with dots: `eval.attacks=[pgd_linf]`.

    It must be given names; anything else is the value of the key. Beside names, null is `none`,
    where there is such an option.
    """
    known = {group.replace("/", "."): group for group in groups() if "/" in group}
    return [_as_choice(a, known) for a in arguments]


def _as_choice(argument: str, known: Mapping[str, str]) -> str:
    key, equals, value = argument.partition("=")
    group = known.get(key.lstrip("+"))
    if not (equals and group):
        return argument
    (override,) = overrides_of([argument])
    names = [n for v in _values(override) for n in (v if isinstance(v, list) else [v])]
    if len(names) > 1 and None in names and "none" in options(group):
        names = [name or "none" for name in names]
        value = value.replace("null", "none")
    if not all(isinstance(name, str) for name in names):
        return argument
    return f"{'+' if key.startswith('+') else ''}{group}={value}"


def with_targets(arguments: Iterable[str]) -> list[str]:
    """Return the arguments so that `data._target_=…` acts where no option is chosen, too."""
    named = tuple(f"{part}._target_=" for part in MAY_BE_NULL)
    return [f"++{a}" if a.startswith(named) else a for a in arguments]


def overrides_of(arguments: Iterable[str]) -> list[Override]:
    """Return the overrides of a command line, without its flags."""
    words: Any = [a for a in arguments if "=" in a and not a.startswith("-")]
    return OverridesParser.create().parse_overrides(words)


def _is_set_once(override: Override) -> bool:
    is_empty = override.is_delete() or not override.get_value_string()
    return not is_empty and not override.is_sweep_override()


def _values(override: Override) -> list[Any]:
    if override.is_delete():
        return []
    if not override.is_sweep_override():
        return [override.value()]
    listed = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP)
    return _unquoted(list(override.sweep_iterator())) if override.value_type in listed else []


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value


def _check_choice(group: str, value: Any) -> None:
    names: list[Any] = value if isinstance(value, list) and group in MANY else [value]
    for name in names:
        if not isinstance(name, str):
            kind = "a list of names" if group in MANY else "a name"
            raise Refused(f"`{group}` takes {kind}, got {value!r}; {way_out(group)}")
        if names.count(name) > 1:
            again = f"{group}@{group.replace('/', '.')}.again={name}"
            raise Refused(
                f"`{group}=[{','.join(names)}]` names `{name}` twice, which would give one; give "
                f"the second a name of its own: `+{again}`"
            )
