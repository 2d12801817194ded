"""Settings: which of default, file and command line wins, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hilum.config import TrainConfig, expand, train_config
from hilum.errors import ConfigError
from hilum.toml_files import read_toml

CONFIGS = Path(__file__).parents[1] / "configs"
SEGMENT: dict[str, Any] = {"task": "segment", "data": ["phantom:10"]}
CLASSIFY: dict[str, Any] = {"task": "classify", "data": ["phantom:10"]}


def test_the_task_brings_its_defaults() -> None:
    outlines, labels = train_config(SEGMENT), train_config(CLASSIFY)
    assert (outlines.architecture, outlines.start, outlines.preparation.size) == ("unet", "auto", 256)
    assert (labels.architecture, labels.start, labels.preparation.size) == ("mobilenetv2", "auto", 128)
    assert outlines.preparation.low == labels.preparation.low == 1.0


def test_the_file_beats_the_default_and_the_command_line_beats_the_file() -> None:
    settings = SEGMENT | {"epochs": 7, "preparation": {"size": 320, "low": 2.0}}
    assert train_config(settings).epochs == 7
    assert train_config(settings).preparation.size == 320
    config = train_config(settings, ["epochs=3", "preparation.size=160", "epochs=4"])
    assert config.epochs == 4
    assert config.preparation.size == 160
    assert config.preparation.low == 2.0  # a nested override leaves its neighbours
    assert settings["preparation"] == {"size": 320, "low": 2.0}  # and the caller's settings


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("epochs=5", "epochs", 5),
        ("rate=5e-4", "rate", 5e-4),
        ("name=lungs-v2", "name", "lungs-v2"),
        ('name="lungs"', "name", "lungs"),
        ("start=runs/a=b", "start", "runs/a=b"),
        ("intended_use=", "intended_use", ""),
        ("out=runs/x", "out", Path("runs/x")),
        ("split=configs/splits/nih.csv", "split", Path("configs/splits/nih.csv")),
        ('citations=["One", "Two"]', "citations", ("One", "Two")),
        ("arguments.width=24", "arguments", {"width": 24}),
        ("arguments.norm=false", "arguments", {"norm": False}),
        ("arguments={ depth = 5 }", "arguments", {"depth": 5}),
    ],
)
def test_overrides_carry_the_type_that_their_text_says(override: str, key: str, value: object) -> None:
    found = getattr(train_config(SEGMENT, [override]), key)
    assert found == value
    assert type(found) is type(value) or isinstance(value, Path)


def test_labels_may_be_written_in_any_spelling() -> None:
    config = train_config(
        CLASSIFY, ['labels=["effusion", "oedema"]', 'auxiliary=["pleural_thickening", "view"]']
    )
    assert config.labels == ("Pleural Effusion", "Edema")
    assert config.auxiliary == ("Pleural Thickening", "view")


def test_a_start_is_left_to_the_architecture() -> None:
    assert train_config(CLASSIFY).start == train_config(CLASSIFY, ["architecture=cnn"]).start == "auto"
    assert train_config(CLASSIFY, ["start=random"]).start == "random"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs"], "'epochs': not a setting; write key=value, for instance epochs=5"),
        (["--epochs=5"], "'--epochs=5': not a setting"),
        (["=5"], "'=5': not a setting"),
        (["cycles=7", "epochs=15", "keep=last"], "cycles: 7 do not divide 15 epochs"),
        (["cycles=3"], "cycles: .*set keep=last"),
        (["arguments.channels=3"], "arguments.channels: follow from preparation.region"),
        (["task=classify", "mixup=1", "cutmix=1"], "cutmix: films are blended already"),
        (["task=classify", "sampling=balanced", 'extra=["phantom:3"]'], "sampling: not beside extra films"),
        (["task=classify", "loss=adjusted"], "weighting: .*set weighting=none"),
        (["task=segment", "preparation.region=crop"], "preparation.region: 'crop' only for task 'classify'"),
        (["task=pretrain", "preparation.region=lungs"], "preparation.region: 'lungs' only for task"),
        (["task=classify", "preparation.region=outlines", "recipe=views"], "leave region 'outlines' out"),
        (["task=segment", "cutmix=1"], "cutmix: only for task 'classify'"),
        (["task=detect"], "task='detect': must be one of segment, classify, pretrain"),
        (["epochs=0"], "epochs: .*greater than or equal to 1; 'hilum train --settings' lists them all"),
        (["epochs=many"], "epochs: .*valid integer"),
        (["rate=-1"], "rate: .*greater than 0"),
        (["rate=nan"], "rate: .*greater than 0"),
        (["epoch=5"], "epoch: no such setting, did you mean epochs"),
        (["preparation.sise=64"], "preparation.sise: no such setting"),
        (["preparation.size=8"], "preparation.size: .*greater than or equal to 32"),
        (["preparation=64"], "preparation: "),
        (["data=[]"], "data: .*at least 1"),
        (["name=../escape"], "name: .*pattern"),
        (["epochs=0", "batch=0"], "epochs: .*; batch: "),
        (["mixup=0.2"], "^mixup: only for task 'classify'; "),
        (["loss=focal"], "^loss: only for task 'classify'; "),
        (["uncertain=one"], "^uncertain: only for task 'classify'; "),
        (["task=classify", "uncertain=maybe"], "^uncertain: 'maybe'; give 'ignore', 'zero', 'one', a prob"),
        (["task=classify", "uncertain=[0.9, 0.1]"], r"^uncertain: \[0.9, 0.1\]; give 'ignore'"),
        (
            ["task=classify", 'labels=["Effusion", "pleural effusion"]'],
            "label 'Pleural Effusion' is named twice",
        ),
        (["task=classify", "unmentioned=one"], "unmentioned: .*'ignore' or 'zero'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_config(SEGMENT, overrides)


@pytest.mark.parametrize(
    ("override", "policy"),
    [
        ("uncertain=one", "one"),
        ("uncertain=0.7", 0.7),
        ("uncertain=[0.55, 0.85]", (0.55, 0.85)),
        (
            'uncertain={"Edema"="one", effusion=[0, 0.3], others="zero"}',
            {"Edema": "one", "Pleural Effusion": (0, 0.3), "others": "zero"},
        ),
    ],
)
def test_a_policy_is_one_for_all_labels_or_one_for_each(override: str, policy: object) -> None:
    found = train_config({**CLASSIFY, "unmentioned": "zero"}, [override])
    assert found.uncertain == policy
    again = train_config(found.model_dump(mode="json"))  # as a card keeps it
    assert (again.uncertain, again.unmentioned) == (policy, "zero")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="task=None: must be one of segment, classify, pretrain"):
        train_config({"data": ["phantom:10"]})
    with pytest.raises(ConfigError, match="data: Field required; 'hilum train --settings'"):
        train_config({"task": "segment"})


def test_a_configuration_cannot_be_changed_in_place() -> None:
    config = train_config(SEGMENT)
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_a_toml_file_is_read_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'task = "segment"\ndata = ["masks:Röntgen"]\n[preparation]\nsize = 64\n', encoding="utf-8"
    )
    assert read_toml(path) == {"task": "segment", "data": ["masks:Röntgen"], "preparation": {"size": 64}}


def test_a_broken_toml_file_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('task = "segment"\nepochs = \n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml: .*line 2.*; see configs/ for examples"):
        read_toml(path)
    path.write_bytes(b'name = "M\xfcller"')
    with pytest.raises(ConfigError, match=r"run\.toml: .*utf-8.*; see configs/ for examples"):
        read_toml(path)
    with pytest.raises(ConfigError, match=r"other\.toml: no such file; give the path of a TOML file"):
        read_toml(tmp_path / "other.toml")
    with pytest.raises(ConfigError, match="Is a directory; give the path of a TOML file"):
        read_toml(tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_published_configuration_is_complete(path: Path) -> None:
    config = train_config(read_toml(path))
    assert isinstance(config, TrainConfig)
    assert config.name == path.stem
    assert config.intended_use
    assert config.citations
    assert config.split is not None
    assert (CONFIGS.parent / config.split).is_file()


def test_variables_are_replaced_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILMS", "/data")
    assert expand("nih:$FILMS/nih14") == expand("nih:${FILMS}/nih14") == "nih:/data/nih14"
    assert expand("folder:films") == "folder:films"
    monkeypatch.delenv("FILMS")
    with pytest.raises(ConfigError, match=r"nih:\$FILMS/x: FILMS is not set; export FILMS=FOLDER first"):
        expand("nih:$FILMS/x")


@pytest.mark.parametrize(
    ("task", "settings", "why"),
    [
        ("segment", {"labels": ["heart"]}, "labels: only for task 'classify'"),
        ("segment", {"activation": "softmax"}, "activation: only for task 'classify'"),
        ("pretrain", {"weighting": "balanced"}, "weighting: only for task 'classify'"),
        ("classify", {"recipe": "outlines"}, "recipe: 'outlines' only for task 'segment'"),
    ],
)
def test_what_a_task_would_pass_over_is_refused(task: str, settings: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        train_config({"task": task, "data": ["phantom:4"]} | settings)
