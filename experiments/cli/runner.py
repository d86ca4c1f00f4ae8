"""One run, as Hydra knows nothing of it: a config is checked, built and run in a folder."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from experiments.cli.command import check_appended
from experiments.cli.errors import Failure, failure
from experiments.cli.identity import identity_of
from experiments.cli.leftovers import drop_leftovers, of_empty_routes
from experiments.cli.schema import check_keys, check_parts
from experiments.results.folder import Busy, RunFolder
from experiments.results.summary import Summary
from experiments.run.build import build
from experiments.run.checkpoint import found
from experiments.run.job import run
from experiments.run.parts import Parts
from experiments.run.ranks import rank
from xformopt.optim import RoutedOptimizer
from xformopt.refused import Refused


class Runner:
    """Runs what configs say; what it said once, it does not say again."""

    def __init__(self) -> None:
        """Begin, with nothing said.

        `resumes` is the folder of a run that goes on, `schema` tells which configs there were to
        choose from, and `trusted` are the modules that the command trusts.
        """
        self.resumes: Path | None = None
        self.schema = ""
        self.trusted: tuple[str, ...] = ()
        self.said: set[str] = set()
        self.has_begun = False

    def run(
        self,
        cfg: DictConfig,
        path: Path,
        overrides: tuple[str, ...],
        optim: str | None = None,
        *,
        again: Path | None = None,
    ) -> Summary | Failure:
        """Build and run; return the summary, or what went wrong, as its summary says.

        Args:
            cfg: the config.
            path: the run's folder.
            overrides: the words of the command line that made it.
            optim: the option that was chosen of the group `optim`.
            again: where this very run may stand, which goes on; `path`, but for further ranks.

        Raises:
            Busy: where another process is at work on it, which `again` allows.
        """
        try:
            folder = RunFolder(path)
            before = self.resumes or again
            of = RunFolder(before) if before else None
            if of is None:
                folder.check_is_free()  # and again once it is held
            elif again:
                _check_same(cfg, of)
            if of and (done := self._done(of)):
                return done
            with folder.held():
                if of is None:
                    folder.check_is_free()
                elif done := self._done(of):
                    return done
                if of is None or (again and not found(again)):
                    return self._begun(cfg, folder, overrides, optim)
                return self._resumed(cfg, folder, of)
        except Refused as error:
            if again and isinstance(error, Busy):
                raise
            return failure(error)

    def _done(self, folder: RunFolder) -> Summary | None:
        """Return the summary of a run that is finished, of which nothing is left to do."""
        before = folder.summary()
        if before.status != "finished":
            return None
        if self.resumes:
            self._say(("the run is finished: nothing is left to do",))
        return before

    def _begun(
        self, cfg: DictConfig, folder: RunFolder, overrides: tuple[str, ...], optim: str | None
    ) -> Summary | Failure:
        """Run what begins."""
        summary = Summary("running", cfg.get("seed"), overrides, schema=self.schema)
        summary = replace(summary, trusted=self.trusted)
        try:
            summary = replace(summary, identity=identity_of(cfg))
            folder.write_summary(summary)
            if optim:
                check_appended(optim, overrides)
            parts = self._build(cfg, overrides)
            folder.write_config(OmegaConf.to_yaml(cfg, resolve=True))
        except Exception as error:
            failed = _failure(error, cfg, folder)
            folder.write_summary(replace(summary, status="failed", error=failed.reason))
            return failed
        return self._run(cfg, parts, folder, summary)

    def _resumed(self, cfg: DictConfig, folder: RunFolder, of: RunFolder) -> Summary | Failure:
        """Run what is left of a run, from its last checkpoint on; `of` is its folder."""
        before, checkpoint = of.summary(), found(of.path)
        said = f"the run goes on from {checkpoint.name if checkpoint else 'its beginning'}"
        summary = Summary("running", cfg.seed, before.overrides, before.identity, before.schema)
        summary = replace(summary, trusted=before.trusted)
        try:
            parts = self._build(cfg, before.overrides)
            if not parts.trainer.is_resumable:
                rule = "a run that saves checkpoints: not a toy, not under fsdp, not with "
                rule += "`trainer.checkpoint_every=null`"
                raise Refused("resume", rule, str(of.path), "`rerun=FOLDER` begins it anew")
            self._say((said,))
            parts = replace(parts, notes=(*parts.notes, said))
        except Exception as error:
            return _failure(error, cfg, folder)
        return self._run(cfg, parts, folder, summary, checkpoint)

    def _run(
        self,
        cfg: DictConfig,
        parts: Parts,
        folder: RunFolder,
        summary: Summary,
        checkpoint: Path | None = None,
    ) -> Summary | Failure:
        self.has_begun = True
        explained = cache(lambda error: _failure(error, cfg, folder))
        try:
            summary = run(parts, folder, summary, lambda error: explained(error).reason, checkpoint)
        except Busy:
            raise
        except Exception as error:
            return explained(error)
        self._say(summary.notes)
        return summary

    def _build(self, cfg: DictConfig, overrides: tuple[str, ...]) -> Parts:
        check_parts(cfg)
        drop_leftovers(cfg, overrides)
        check_keys(cfg)
        parts = build(cfg)
        optimizer = parts.state.optimizer
        parts = replace(parts, notes=(*parts.notes, *of_empty_routes(optimizer, overrides)))
        if isinstance(optimizer, RoutedOptimizer):
            print(optimizer.describe())
        self._say(parts.notes)
        return parts

    def _say(self, notes: tuple[str, ...]) -> None:
        for line in notes:
            if line not in self.said:
                self.said.add(line)
                print(f"note: {line}", flush=True)


def _failure(error: BaseException, cfg: DictConfig, folder: RunFolder) -> Failure:
    """Explain an error, with its traceback in the folder, if it is not one that is thrown away."""
    return failure(error, cfg, None if rank() else folder.path)


def _check_same(cfg: DictConfig, folder: RunFolder) -> None:
    """Refuse a folder that holds another job."""
    before = folder.summary()
    if before.identity and (before.identity, before.seed) != (identity_of(cfg), cfg.get("seed")):
        says = f"`{folder.path}` holds another job: `hydra.sweep.subdir` must tell jobs apart"
        raise Refused(says)
