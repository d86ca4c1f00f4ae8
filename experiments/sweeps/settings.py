"""How a sweep goes on, and which jobs it has beside all combinations."""

from typing import Any, Literal, NamedTuple, get_args

from experiments.sweeps.listed import listed
from experiments.sweeps.points import Sampler, check_sampler
from xformopt.refused import Refused, check_count
from xformopt.text import close_matches

OnError = Literal["continue", "stop"]


class Settings(NamedTuple):
    """What `sweep.…` says on a command line.

    `resume` lets the folder hold runs, of which those that are finished are not run again;
    `on_error` is whether others go on where a job has failed, which is tried `retries` times more;
    each combination is run with each of the `list`, and with `trials` of its search space.
    """

    resume: bool = False
    on_error: OnError = "continue"
    retries: int = 0
    list: tuple[tuple[str, ...], ...] = ()
    trials: int | None = None
    sampler: Sampler = "halton"


def settings(given: dict[str, Any]) -> Settings:
    """Return checked settings.

    >>> settings({"resume": True, "trials": 8})._asdict()["trials"]
    8
    """
    for name in given:
        if name not in Settings._fields:
            hint = close_matches(name, [*Settings._fields])
            raise Refused(f"`sweep.{name}`: nothing reads this key; {hint}")
    found = Settings(**given)
    if not isinstance(found.resume, bool):
        raise Refused("sweep.resume", "true or false", found.resume)
    if found.on_error not in get_args(OnError):
        raise Refused("sweep.on_error", f"one of {', '.join(get_args(OnError))}", found.on_error)
    check_count("sweep.retries", found.retries, least=0)
    check_count("sweep.trials", found.trials, optional=True)
    check_sampler(found.sampler)
    if "sampler" in given and found.trials is None:
        raise Refused("`sweep.sampler`: nothing reads it without `sweep.trials=N`")
    return found._replace(list=tuple(listed(given["list"]))) if "list" in given else found
