"""A search: it remembers, goes on after a kill, and ends what falls behind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import optuna
import pytest

from hilum.config import TrainConfig, train_config
from hilum.errors import ConfigError, DivergedError, OutOfMemoryError, TrainingError
from hilum.store import alone
from hilum.studies import tune as module
from hilum.studies.tune import Search, read_search, tune
from hilum.toml_files import read_toml
from hilum.training.starts import sized

PUBLISHED = Path(__file__).parents[2] / "configs" / "tune"


def search(out: Path, **more: Any) -> Search:
    base = {"task": "classify", "data": ["phantom:9"], "epochs": 3, "preparation": {"size": 32}}
    space = {"rate": {"low": 1e-4, "high": 1e-2, "log": True}, "preparation.size": {"choices": [32, 64]}}
    return Search.model_validate({"name": "x", "out": out, "trials": 6, "base": base, "space": space} | more)


class Trainer:
    """In the place of training: the lower the rate the better, and larger films are better still."""

    def __init__(self) -> None:
        self.configs: list[TrainConfig] = []
        self.killed_at = -1
        self.fails = False

    def __call__(self, config: TrainConfig, *, resume: bool, tick: Any, watch: Any) -> None:
        assert resume and tick is None
        sized(config)
        self.configs.append(config)
        if self.fails:
            raise DivergedError("the loss is not a number")
        config.out.mkdir(parents=True, exist_ok=True)
        scores = [0.1 * epoch - config.rate + config.preparation.size / 100 for epoch in (1, 2, 3)]
        for epoch, score in enumerate(scores, 1):
            with (config.out / "history.csv").open("w") as file:
                csv.writer(file).writerows([("score",), *((value,) for value in scores[:epoch])])
            if len(self.configs) == self.killed_at:
                raise KeyboardInterrupt
            watch(epoch, score)
        (config.out / "checkpoint").mkdir()
        (config.out / "checkpoint" / "card.json").touch()


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer()
    monkeypatch.setattr(module, "train", found)
    return found


def table(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_settings_are_told_and_can_be_trained(tmp_path: Path, trainer: Trainer) -> None:
    best = tune(search(tmp_path))
    assert len(trainer.configs) == 6
    told = [row for row in table(tmp_path) if row["state"] == "complete"]
    assert best["score"] == pytest.approx(max(float(row["score"]) for row in told))
    config = train_config(read_toml(tmp_path / "best.toml"))
    assert (config.rate, config.preparation.size) == (best["rate"], best["preparation.size"])
    assert config.data == ("phantom:9",)
    tune(search(tmp_path))
    assert len(trainer.configs) == 6, "a search that is done does nothing"
    tune(search(tmp_path, trials=8))
    assert len(trainer.configs) == 8


def test_a_setting_that_is_none_is_told_before_any_trial(tmp_path: Path, trainer: Trainer) -> None:
    space = {"bacth": {"choices": [8]}}
    with pytest.raises(ConfigError, match="bacth: no such setting, did you mean batch"):
        tune(search(tmp_path / "out", space=space))
    assert not trainer.configs and not (tmp_path / "out" / "tune.db").exists()


def test_a_killed_search_takes_its_last_training_up_again(tmp_path: Path, trainer: Trainer) -> None:
    trainer.killed_at = 3
    with pytest.raises(KeyboardInterrupt):
        tune(search(tmp_path))
    tune(search(tmp_path))
    assert trainer.configs[3] == trainer.configs[2]
    states = [row["state"] for row in table(tmp_path)]
    assert states.count("fail") == 1
    assert states.count("complete") + states.count("pruned") == 6


def test_a_score_that_cannot_be_told_is_told_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def train(config: TrainConfig, **told: Any) -> None:
        del told
        tried.append(config)
        (config.out / "checkpoint").mkdir(parents=True)
        (config.out / "history.csv").write_text("score\nnan\n")

    monkeypatch.setattr(module, "train", train)
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"see trials\.csv"):
            tune(search(tmp_path, trials=2))
    assert len(tried) == 2
    assert {row["fault"] for row in table(tmp_path)} == {"no score: its tuning films show no label both ways"}


def test_a_training_that_falls_behind_ends_early(tmp_path: Path, trainer: Trainer) -> None:
    del trainer
    space = {"preparation.size": {"choices": [32, 64]}, "rate": {"low": 0.001, "high": 0.5}}
    tune(search(tmp_path, space=space, trials=20))
    pruned = [row for row in table(tmp_path) if row["state"] == "pruned"]
    assert pruned
    worst = min(float(row["score"]) for row in table(tmp_path)[:4])
    assert all(float(row["score"]) <= worst + 1 for row in pruned)


def test_trainings_that_diverge_do_not_end_the_search(tmp_path: Path, trainer: Trainer) -> None:
    trainer.fails = True
    for _ in range(2):  # called once more, it has as many trials as before
        with pytest.raises(TrainingError, match="every training failed"):
            tune(search(tmp_path, trials=3))
        assert [row["state"] for row in table(tmp_path)] == ["fail"] * 3


def test_settings_that_do_not_go_together_are_passed_over_and_told(tmp_path: Path, trainer: Trainer) -> None:
    space = {"mixup": {"choices": [0.0, 0.4]}, "cutmix": {"choices": [0.0, 1.0]}}
    tune(search(tmp_path, space=space, trials=12))
    refused = [row for row in table(tmp_path) if row["mixup"] == "0.4" and row["cutmix"] == "1.0"]
    assert refused and all(row["state"] == "pruned" and "leave mixup out" in row["fault"] for row in refused)
    assert len(table(tmp_path)) == 12
    assert not any(config.mixup and config.cutmix for config in trainer.configs)


def test_a_size_that_a_network_cannot_take_is_passed_over_too(tmp_path: Path, trainer: Trainer) -> None:
    base = {"task": "classify", "data": ["phantom:9"], "architecture": "vit", "start": "random"}
    space = {"preparation.size": {"choices": [32, 60]}}
    tune(search(tmp_path, base=base, space=space))
    assert {config.preparation.size for config in trainer.configs} == {32}
    assert any("must be a multiple of 16" in row["fault"] for row in table(tmp_path))


def test_what_training_itself_refuses_is_passed_over_too(tmp_path: Path, trainer: Trainer) -> None:
    real = trainer.__class__.__call__

    def train(config: TrainConfig, **told: Any) -> None:
        if config.first_rate < 1:
            raise ConfigError("cnn has no backbone; leave first_rate out")
        real(trainer, config, **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", train)
        for _ in range(2):  # and again, called once more
            tune(search(tmp_path, space={"first_rate": {"choices": [1.0, 0.1]}}))
    assert {row["fault"][:20] for row in table(tmp_path)} == {"", "cnn has no backbone;"}
    assert len(table(tmp_path)) == 6


def test_a_mistake_that_all_share_is_told_before_the_first(tmp_path: Path, trainer: Trainer) -> None:
    base = {"task": "classify", "data": ["phantom:9"], "architecture": "cnn", "preparation": {"size": 32}}
    with pytest.raises(ConfigError, match="must be a multiple of 128"):
        tune(search(tmp_path / "out", base=base, space={"rate": {"low": 1e-4, "high": 1e-2}}))
    assert not trainer.configs and not (tmp_path / "out").exists()


def test_nothing_ends_early_in_the_first_third_of_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[int] = []

    def train(config: TrainConfig, *, resume: bool, tick: Any, watch: Any) -> None:
        """The later it is tried, the worse it is; from the middle on as well."""
        del resume, tick
        config.out.mkdir(parents=True)
        reached.append(0)
        (config.out / "history.csv").write_text(f"score\n{-len(reached)}\n")
        for epoch in range(1, 10):
            reached[-1] = epoch
            watch(epoch, -float(len(reached)))
        (config.out / "checkpoint").mkdir()
        (config.out / "checkpoint" / "card.json").touch()

    monkeypatch.setattr(module, "train", train)
    base = {"task": "classify", "data": ["phantom:9"], "epochs": 9}
    tune(search(tmp_path, base=base, space={"rate": {"low": 1e-4, "high": 1e-2}}, trials=8))
    assert reached == [9, 9, 9, 9, 4, 4, 4, 4]


def test_what_does_not_fit_into_memory_is_told_and_passed_over(tmp_path: Path, trainer: Trainer) -> None:
    real = trainer.__class__.__call__

    def train(config: TrainConfig, **told: Any) -> None:
        if config.preparation.size == 64:
            raise OutOfMemoryError("batch=32 films of 64 x 64 do not fit")
        real(trainer, config, **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", train)
        best = tune(search(tmp_path))
    assert best["preparation.size"] == 32
    assert any(row["state"] == "fail" and "do not fit" in row["fault"] for row in table(tmp_path))


@pytest.mark.parametrize(
    "what", [{}, {"low": 1}, {"low": 2, "high": 1}, {"choices": [1], "low": 0, "high": 2}, {"max": 3}]
)
def test_a_space_that_says_nothing_is_refused(tmp_path: Path, what: dict[str, float]) -> None:
    lines = [
        "out = 'x'",
        "[base]",
        "[space]",
        "rate = { " + ", ".join(f"{k} = {v}" for k, v in what.items()) + " }",
    ]
    (tmp_path / "t.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"t\.toml: space\.rate"):
        read_search(tmp_path / "t.toml")


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.toml")), ids=lambda path: path.name)
def test_every_published_search_can_be_read_and_its_settings_exist(path: Path) -> None:
    found = read_search(path)
    trial = optuna.trial.FixedTrial(
        {name: what.choices[0] if what.choices else what.low for name, what in found.space.items()}
    )
    drawn = {name: module._drawn(trial, name, what) for name, what in found.space.items()}  # type: ignore[arg-type]
    assert module._config(found, drawn).task == "classify"


def test_bounds_with_a_point_are_drawn_in_between(tmp_path: Path, trainer: Trainer) -> None:
    space = {"mixup": {"low": 0.0, "high": 1.0}, "batch": {"low": 4, "high": 64, "log": True}}
    tune(search(tmp_path, space=space))
    assert any(config.mixup % 1 for config in trainer.configs)
    assert all(isinstance(config.batch, int) for config in trainer.configs)


def test_best_settings_say_what_defaults_would_say_otherwise(tmp_path: Path, trainer: Trainer) -> None:
    base = {"task": "classify", "data": ["phantom:9"], "start": "random", "epochs": 1}
    tune(search(tmp_path, base=base, trials=1, space={"rate": {"low": 1e-4, "high": 1e-2}}))
    config = train_config(read_toml(tmp_path / "best.toml"))
    assert config.model_copy(update={"out": trainer.configs[0].out}) == trainer.configs[0]


def test_another_space_or_base_is_another_search(tmp_path: Path, trainer: Trainer) -> None:
    tune(search(tmp_path, trials=1))
    with pytest.raises(ConfigError, match="another base or space"):
        tune(search(tmp_path, trials=2, space={"rate": {"choices": [0.1]}}))
    with pytest.raises(ConfigError, match="trains on one"):
        tune(search(tmp_path / "x", base={"task": "classify", "data": ["phantom:9"], "devices": 2}))
    assert len(trainer.configs) == 1


@pytest.mark.usefixtures("trainer")
def test_settings_with_names_in_words_can_be_read_again(tmp_path: Path) -> None:
    base = {"task": "classify", "data": ["phantom:9"], "preparation": {"size": 32}}
    named = search(tmp_path / "out", base=base | {"uncertain": {"Pleural Effusion": "one"}}, trials=1)
    tune(named)
    assert read_toml(tmp_path / "out" / "best.toml")["uncertain"] == {"Pleural Effusion": "one"}


def test_a_logarithm_needs_a_low_above_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="log = true: give a low above 0"):
        search(tmp_path, space={"decay": {"low": 0.0, "high": 0.1, "log": True}})


def test_only_one_process_searches_in_a_folder(tmp_path: Path, trainer: Trainer) -> None:
    with alone(tmp_path, "searches"), pytest.raises(ConfigError, match="another process searches there"):
        tune(search(tmp_path))
    assert not trainer.configs
    tune(search(tmp_path))


def test_choices_that_do_not_go_together_may_stand_in_any_order(tmp_path: Path, trainer: Trainer) -> None:
    space = {"loss": {"choices": ["adjusted", "cross-entropy"]}, "weighting": {"choices": ["sqrt", "none"]}}
    tune(search(tmp_path, space=space, trials=8))
    assert {row["state"] for row in table(tmp_path)} <= {"complete", "pruned"}
    assert trainer.configs


def test_best_settings_are_toml_whatever_the_films_are_called(tmp_path: Path, trainer: Trainer) -> None:
    base = {
        "task": "classify",
        "data": ["csv:\U00020bb7/films.csv"],
        "epochs": 3,
        "preparation": {"size": 32},
    }
    tune(search(tmp_path, base=base))
    assert trainer.configs
    assert read_toml(tmp_path / "best.toml")["data"] == base["data"]
