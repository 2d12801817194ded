"""A search for better settings, over a space given in a TOML file.

The search is Optuna's and is kept in an SQLite file: if it is killed, it resumes where it was, including the
training in progress. Trainings that fall behind the median of the others end early. Settings that do not go
together, or do not fit into memory, are skipped and reported.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from hilum.card import Strict
from hilum.config import TrainConfig, train_config
from hilum.errors import ConfigError, DivergedError, MissingExtraError, OutOfMemoryError, TrainingError
from hilum.progress import within
from hilum.store import alone, as_csv, write_whole
from hilum.toml_files import read_plan
from hilum.training.history import read_history
from hilum.training.run import STATE, trained
from hilum.training.starts import sized
from hilum.training.train import train
from hilum.types import Tick

if TYPE_CHECKING:
    import optuna

_ABOUT, _FAULT = "about", "fault"
_FIRST = 4  # trainings that never end early, because the others are compared with them
_GRACE = 3  # no training ends in its first 1/3 of the epochs: low rates start late


class Range(Strict):
    """The values of one setting: one of `choices`, or a number from `low` to `high`."""

    choices: tuple[Any, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    log: bool = Field(default=False, description="drawn uniformly on a logarithmic scale")

    @model_validator(mode="after")
    def _one_of_both(self) -> Range:
        bounds = self.low is not None and self.high is not None
        if bounds == bool(self.choices) or (bounds and not self.low < self.high):  # type: ignore[operator]
            raise ValueError("give choices = [...], or low and a larger high")
        if bounds and self.log and self.low <= 0:  # type: ignore[operator]
            raise ValueError("log = true: give a low above 0")
        return self


class Search(Strict):
    """The file TUNE.toml."""

    name: str = Field(description="by default the file's own, without its ending")
    out: Path
    trials: int = Field(default=20, ge=1)
    seed: int = 0
    base: dict[str, Any] = Field(description="settings that all trainings share")
    space: dict[str, Range] = Field(
        min_length=1, description="setting, as preparation.size -> what it may be"
    )


def read_search(path: Path) -> Search:
    """The search of a TOML file; raises ConfigError naming what is wrong."""
    return read_plan(Search, path, examples="docs/studies.md shows such a file")


def tune(search: Search, *, tick: Tick | None = None) -> dict[str, Any]:
    """Run the remaining trials of the search; returns the best settings found.

    Writes below `search.out` a folder for each training, ``trials.csv``, and ``best.toml`` for
    ``hilum train``. Raises ConfigError, and TrainingError if every training failed.
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("tuning", "tune")
    first = _tried(search)
    if not any(name.startswith(("preparation.", "arguments.", "architecture")) for name in search.space):
        sized(first)
    search.out.mkdir(parents=True, exist_ok=True)
    with alone(search.out, "searches"):
        return _search(search, tick)


def _search(search: Search, tick: Tick | None) -> dict[str, Any]:
    """`tune`, by the only process that searches there."""
    from optuna.trial import TrialState

    study = _opened(search)

    def objective(trial: optuna.Trial) -> float:
        done = _done(study)
        drawn = {name: _drawn(trial, name, what) for name, what in search.space.items()}
        return _score(search, drawn, trial, within(tick, done, search.trials, f"trial {done + 1}"))

    study.optimize(
        objective,
        n_trials=max(0, search.trials - _done(study)),
        catch=(DivergedError, OutOfMemoryError),
        gc_after_trial=True,  # else a failed training's error keeps its tensors in memory
        callbacks=[lambda study, _: _tell(search, study)],
    )
    _tell(search, study)
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise TrainingError(
            f"{search.out}: every training failed or was ended early, see trials.csv; narrow the space"
        )
    best = _config(search, study.best_params)
    settings = best.model_dump(mode="json", exclude={"out"})
    write_whole(search.out / "best.toml", _toml(settings))
    return {"score": study.best_value, **study.best_params}


def _done(study: optuna.Study) -> int:
    """How many trials came to an end; one that was interrupted did not."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(trial.state in ended or _FAULT in trial.user_attrs for trial in study.get_trials())


def _tried(search: Search) -> TrainConfig:
    """Settings at one end of the space, or at the other end if those do not go together.

    Raises ConfigError for mistakes in the file: once, here, and not in every trial.
    """
    ends = {name: what.choices or (what.low, what.high) for name, what in search.space.items()}
    first, last = ({name: values[i] for name, values in ends.items()} for i in (0, -1))
    try:
        return _config(search, first)
    except ConfigError as error:
        try:
            return _config(search, last)
        except ConfigError:
            raise error from None


def _opened(search: Search) -> optuna.Study:
    """The search in its folder, or a new one; raises ConfigError if the folder holds another search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it prints the traceback of each failed training
    study = optuna.create_study(
        storage=f"sqlite:///{search.out / 'tune.db'}",
        study_name=search.name,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST),
        load_if_exists=True,
    )
    about = hashlib.sha256(search.model_dump_json(include={"base", "space"}).encode()).hexdigest()
    if study.user_attrs.get(_ABOUT, about) != about:
        raise ConfigError(f"{search.out}: holds a search with another base or space; choose another out")
    study.set_user_attr(_ABOUT, about)
    # A resumed search must not draw its first settings again.
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + len(study.trials))
    _take_up(study)
    return study


def _take_up(study: optuna.Study) -> None:
    """Queue the interrupted trials first, so that their trainings resume."""
    from optuna.trial import TrialState

    settled = [trial.params for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))]
    settled += [
        trial.system_attrs.get("fixed_params", {}) for trial in study.get_trials(states=(TrialState.WAITING,))
    ]
    for left in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        if left.state == TrialState.RUNNING:
            study.tell(left.number, state=TrialState.FAIL)
        if left.params and left.params not in settled and _FAULT not in left.user_attrs:
            study.enqueue_trial(left.params)
            settled.append(left.params)


def _drawn(trial: optuna.Trial, name: str, what: Range) -> Any:
    if what.choices:
        return trial.suggest_categorical(name, what.choices)
    low, high = what.low, what.high
    assert low is not None and high is not None  # noqa: S101 - checked when it was read
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=what.log)
    return trial.suggest_float(name, low, high, log=what.log)


def _config(search: Search, drawn: Mapping[str, Any]) -> TrainConfig:
    """A training's settings; its folder is named after the drawn values, so that it is found again."""
    digest = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()[:8]
    overrides = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in drawn.items()]
    config = train_config({**search.base, "out": search.out / f"trial-{digest}"}, overrides)
    if config.devices != 1 or config.nodes != 1:
        raise ConfigError("devices: a search trains on one; run its best settings on several")
    return config


def _score(search: Search, drawn: Mapping[str, Any], trial: optuna.Trial, tick: Tick | None) -> float:
    """Train, resume, or read a finished training; returns the tuning score of the weights that are kept."""
    import optuna

    def watch(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if epoch > config.epochs // _GRACE and trial.should_prune():
            raise optuna.TrialPruned

    try:
        config = _config(search, drawn)
        if not trained(config.out):
            train(config, resume=True, tick=tick, watch=watch)
    except optuna.TrialPruned:
        (config.out / STATE).unlink(missing_ok=True)
        raise
    except ConfigError as error:  # the settings do not go together
        trial.set_user_attr(_FAULT, str(error))
        raise optuna.TrialPruned from None
    except (DivergedError, OutOfMemoryError) as error:
        trial.set_user_attr(_FAULT, str(error))
        raise
    scores = [float(row["score"]) for row in read_history(config.out)]
    if math.isnan(scores[-1]):
        trial.set_user_attr(_FAULT, "no score: its tuning films show no label both ways")
        raise optuna.TrialPruned
    return scores[-1] if config.keep == "last" else max(scores)


def _tell(search: Search, study: optuna.Study) -> None:
    """Write ``trials.csv``: every training with its drawn settings, state, score, and fault if any."""
    rows = [
        {"trial": trial.number, "state": trial.state.name.lower(), "score": trial.value}
        | {name: trial.params.get(name, "") for name in search.space}
        | {"fault": trial.user_attrs.get(_FAULT, "")}
        for trial in study.get_trials()
    ]
    columns = ["trial", "state", "score", *search.space, "fault"]
    write_whole(search.out / "trials.csv", as_csv(columns, rows))


def _toml(settings: Mapping[str, Any]) -> str:
    """Plain settings as TOML; strings, numbers and lists are written as in JSON."""
    lines = [f"{key} = {_value(value)}" for key, value in settings.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # TOML does not allow JSON's surrogate escapes
