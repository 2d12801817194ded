"""A study: what is missing is trained and scored, and no run is scored on films it learned from."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hilum.calibration.calibrate import logit
from hilum.card import ANY, Card, card_json, read_card
from hilum.commands.train import study as command
from hilum.config import TrainConfig
from hilum.data import open_data
from hilum.data.split import make_split, read_split, select, write_split
from hilum.errors import CheckpointError, ConfigError, HilumError
from hilum.evaluation.compare import Gain
from hilum.evaluation.figures import Evaluation
from hilum.evaluation.verdicts import read_verdicts
from hilum.runtime import Runtime
from hilum.studies import scores as study_scores
from hilum.studies import study as study_module
from hilum.studies.cost import cost
from hilum.studies.differences import Difference, difference_table
from hilum.studies.films import Test as StudyTest
from hilum.studies.films import unseen
from hilum.studies.report import absent, line, spread, write_report
from hilum.studies.scores import evaluation_of
from hilum.studies.study import Entry, Study, entries, finished, read_study, run
from hilum.training.starts import origin
from hilum.types import Sample

STUDY = """
out = "{out}"
seeds = [0, 1]
columns = [["lungs", "Dice"]]

[base]
task = "segment"
split = "{split}"
epochs = 1
batch = 4
preparation = {{ size = 64 }}

[runs.small]
arguments = {{ width = 2, depth = 2 }}

[runs.wide]
arguments = {{ width = 4, depth = 2 }}
seeds = [7]

[sources.here]
data = ["phantom:16"]

[tests.here]
data = ["phantom:16"]
parts = ["train", "tune"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    split = tmp_path / "split.csv"
    write_split(make_split(open_data("phantom:16"), test=0.2, folds=2, seed=0), split)
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(out=tmp_path / "runs", split=split))
    return path


def test_every_run_meets_every_source_and_seed(file: Path) -> None:
    found = entries(read_study(file))
    assert [entry.config.out.name for entry in found] == [
        "small-here-seed0",
        "small-here-seed1",
        "wide-here-seed7",
    ]
    assert [entry.config.arguments["width"] for entry in found] == [2, 2, 4]
    assert [entry.config.seed for entry in found] == [0, 1, 7]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("seeds = [0, 1]", "sedes = [0, 1]", "sedes"),
        ("[tests.here]", "[texts.here]", "tests"),
        ('parts = ["train", "tune"]', 'parts = ["all"]', "parts"),
    ],
)
def test_a_wrong_word_is_named(file: Path, old: str, new: str, why: str) -> None:
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=why):
        read_study(file)


STUDIES = Path(__file__).parents[2] / "configs" / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.name)
def test_every_published_study_can_be_read_and_names_its_seeds_and_sources(path: Path) -> None:
    study = read_study(path)
    found = entries(study)
    assert {entry.name for entry in found} == set(study.runs)
    assert {entry.source for entry in found} == set(study.sources)
    assert all(entry.config.split is not None for entry in found)
    about = [entry.config.model_dump_json(exclude={"name", "out"}) for entry in found]
    assert len({entry.config.out for entry in found}) == len(found) == len(set(about))  # no run is done twice


def test_a_wrong_setting_of_a_run_is_named(file: Path) -> None:
    file.write_text(file.read_text().replace("epochs = 1", "epoch = 1"))
    with pytest.raises(ConfigError, match="did you mean epochs"):
        entries(read_study(file))


def test_a_runs_preparation_adds_to_the_bases_and_its_arguments_replace_them(file: Path) -> None:
    study = read_study(file)
    runs = {
        "plain": {},
        "equalised": {"preparation": {"equalise": "clahe"}, "arguments": {"depth": 3}},
        "larger": {"preparation": {"size": 128}},
    }
    base = study.base | {"preparation": {"size": 64, "smooth": "gaussian"}, "arguments": {"width": 4}}
    sources = {"here": study.sources["here"] | {"preparation": {"size": 96}}}
    found = entries(study.model_copy(update={"seeds": (0,), "base": base, "runs": runs, "sources": sources}))
    plain, equalised, larger = (entry.config for entry in found)
    assert (plain.preparation.size, plain.preparation.equalise) == (96, "none")
    assert (equalised.preparation.size, equalised.preparation.smooth) == (96, "gaussian")
    assert (equalised.preparation.equalise, equalised.arguments) == ("clahe", {"depth": 3})
    assert (larger.preparation.size, larger.preparation.smooth) == (128, "gaussian")
    assert larger.arguments == {"width": 4}


def test_a_run_is_not_scored_on_the_films_it_learned_from(file: Path) -> None:
    entry = entries(read_study(file))[0]
    films = {
        sample.id for sample in unseen(entry.config, StudyTest(data=("phantom:16",), parts=("train", "tune")))
    }
    samples = open_data("phantom:16")
    assert entry.config.split is not None
    split = read_split(entry.config.split)
    assert films == {sample.id for sample in select(samples, split, "tune")}
    # What extra says of the data's own films trains only where they train.
    fuller = replace(entry, config=entry.config.model_copy(update={"extra": ("phantom:16",)}))
    assert {
        s.id for s in unseen(fuller.config, StudyTest(data=("phantom:16",), parts=("train", "tune")))
    } == films
    # A source of other patients is unseen as a whole.
    moved = entry.config.model_copy(update={"data": ("phantom:16",), "fold": 1})
    other = replace(entry, config=moved)
    assert films.isdisjoint(
        sample.id for sample in unseen(other.config, StudyTest(data=("phantom:16",), parts=("tune",)))
    )


def test_a_study_trains_scores_and_tells_and_does_nothing_twice(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(file)
    ticks: list[tuple[int, int, str]] = []
    told: list[str] = []

    def tell(entry: Entry) -> None:
        told.append(line(study, entry))
        soon = write_report(study, finished(study), whole=False).read_text()
        assert soon.splitlines()[2].startswith("| wide | random | 1 | ")

    done = run(study, only=["wide"], tick=lambda *args: ticks.append(args), tell=tell)
    left = list(study.out.glob("*.html"))
    table = write_report(study, done).read_text()
    lines = table.splitlines()
    assert len(lines) == 3  # heading, rule, the one run that is done
    assert lines[2].startswith("| wide | random | 1 | ")
    with (study.out / "study.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    dice = next(row for row in rows if (row["subject"], row["measure"]) == ("lungs", "Dice"))
    assert (dice["run"], dice["source"], dice["seed"], dice["test"]) == ("wide", "here", "7", "here")
    assert f"| {float(dice['value']):.4f} (" in lines[2]
    assert [one.split(":")[0] for one in told] == ["wide-here-seed7"]
    assert not left, "the page takes long, and is not written after each run"
    assert f"lungs Dice, here {float(dice['value']):.4f}" in told[0]
    page = (study.out / "study.html").read_text()
    assert "wide-here-seed7" in page and page.count("<svg") == 2  # quality against cost, and the curves
    assert "Every label" not in page  # of outlines
    assert all(done <= total for done, total, _ in ticks)
    assert any("wide-here-seed7" in status for _, _, status in ticks)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("done already")

    monkeypatch.setattr(study_module, "train", fail)
    monkeypatch.setattr(study_scores, "evaluate", fail)
    assert [entry.name for entry in run(study, only=["wide"])] == ["wide"]


def test_a_run_that_cannot_be_trained_does_not_stop_the_others(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = file.parent / "pretrained"
    file.write_text(file.read_text().replace("[runs.small]", f'[runs.small]\nstart = "{missing}"'))
    study, heard = read_study(file), list[tuple[str, HilumError]]()
    with pytest.raises(CheckpointError, match="pretrained"):
        run(study)
    done = run(study, fault=lambda folder, error: heard.append((folder.name, error)))
    assert [entry.name for entry in done] == ["wide"]
    assert [name for name, _ in heard] == ["small-here-seed0", "small-here-seed1"]
    for _, error in heard:
        assert isinstance(error, CheckpointError)
        assert error.__traceback__ is None and error.__context__ is None  # which hold a network and its films
    with pytest.raises(typer.Exit) as left:
        command(file)
    told = capsys.readouterr()
    assert left.value.exit_code == 1
    assert told.err.count("not done, ") == 2 and str(missing) in told.err
    assert "| wide | " in told.out and "| small | " not in told.out
    (study.out / "wide-here-seed7").rename(file.parent / "away")
    with pytest.raises(typer.Exit):  # nothing is done: there is nothing to show
        command(file, only=["small"])
    assert not capsys.readouterr().out


def test_a_test_that_cannot_be_scored_keeps_no_old_figures_and_stops_no_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = file.read_text() + '\n[tests.there]\ndata = ["phantom:16"]\n'
    file.write_text(second.replace("seeds = [7]", "seeds = [7, 8]"))
    study, heard = read_study(file), list[str]()
    done = run(study, only=["wide"])
    kept = {name: evaluation_of(done[0].config.out / f"test-{name}") for name in study.tests}
    assert all(kept.values())
    evaluate = study_scores.evaluate

    def fail(runtime: Runtime, *about: Any, **more: Any) -> Evaluation:
        if runtime.card.seed == 8:
            raise ConfigError("no such films")
        return evaluate(runtime, *about, **more)

    monkeypatch.setattr(study_scores, "evaluate", fail)
    other = StudyTest(data=("phantom:16",), parts=("tune",))  # asked otherwise than it was scored
    changed = study.model_copy(update={"tests": {"here": other, "there": study.tests["there"]}})
    told: list[str] = []
    done = run(
        changed,
        only=["wide"],
        fault=lambda folder, error: heard.append(f"{folder.parent.name} {folder.name}: {error}"),
        tell=lambda entry: told.append(entry.config.out.name),
    )
    assert heard == ["wide-here-seed8 test-here: no such films"] and told == ["wide-here-seed7"]
    first, spoilt = (entry.config.out for entry in done)
    assert evaluation_of(spoilt / "test-here") is None
    assert evaluation_of(first / "test-there") == kept["there"]
    table = write_report(changed, done).read_text()
    assert "| wide | random | 2 | " in table  # the other test has figures of both
    figures = (evaluation_of(first / "test-here") or {})["figures"]
    dice = next(one for one in figures if (one["subject"], one["measure"]) == ("lungs", "Dice"))
    assert f"| {dice['value']:.4f} (" in table  # of the one seed that was scored


LABELS = """
out = "{out}"
folds = [0, 1]
seeds = [3, 4]
baseline = "plain"
columns = [["mean of 5 findings", "AUROC"], ["Edema", "AUROC by patient"]]

[base]
task = "classify"
architecture = "cnn"
start = "random"
arguments = {{ width = 2, depth = 2, grid = 4, dense = 8 }}
split = "{split}"
epochs = 1
batch = 8
keep = "last"
preparation = {{ size = 32 }}

[runs.plain]

[runs.augmented]
augment = 0.0

[sources.here]
data = ["phantom:60"]

[tests.held]
data = ["phantom:60"]
"""


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Entry]]:
    """A cross-validation with two runs of two seeds, done."""
    folder = tmp_path_factory.mktemp("folded")
    write_split(make_split(open_data("phantom:60"), test=0.2, folds=2, seed=0), folder / "split.csv")
    path = folder / "folded.toml"
    path.write_text(LABELS.format(out=folder / "runs", split=folder / "split.csv"))
    study = read_study(path)
    return study, run(study)


def test_the_folds_of_a_run_judge_every_film_once_and_none_that_they_learned(
    folded: tuple[Study, list[Entry]],
) -> None:
    _, done = folded
    assert len(done) == 2 * 2 * 2
    samples, first = open_data("phantom:60"), done[0]
    assert first.config.split is not None
    split = read_split(first.config.split)
    parts = [read_verdicts(entry.config.out / "test-held" / "films.csv") for entry in done[:2]]
    for fold, part in enumerate(parts):
        assert set(part.films) == {sample.id for sample in select(samples, split, "tune", fold=fold)}
    whole = read_verdicts(first.group / "test-held" / "films.csv")
    held_back = {sample.id for sample in select(samples, split, "test")}
    assert set(whole.films) == {sample.id for sample in samples} - held_back
    said = evaluation_of(first.group / "test-held")
    assert said is not None
    (figure,) = (
        f for f in said["figures"] if (f["subject"], f["measure"]) == ("mean of 5 findings", "AUROC")
    )
    assert figure["films"] == len(whole.films) == sum(len(part.films) for part in parts)
    assert (said["thresholds"], said["calibration"].split(",")[0]) == (
        "the mean of the other folds' own",
        "each fold's own",
    )
    # Each fold's films are called by the other's thresholds, and judged as before.
    cards = [read_card(entry.config.out / "checkpoint") for entry in done[:2]]
    for part, other in zip(parts, cards[::-1], strict=True):
        told, at = whole.on(part.films), [other.thresholds[label].value for label in part.labels]
        np.testing.assert_array_equal(told.probabilities, part.probabilities)
        np.testing.assert_allclose(told.margins, logit(part.probabilities) - logit(np.array(at)), atol=1e-4)


def test_what_is_scored_is_scored_anew_where_its_films_or_labels_have_changed(
    folded: tuple[Study, list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, done = folded
    monkeypatch.setattr(study_module, "train", None)  # nothing is trained
    told = done[0].config.out / "test-held" / "evaluation.json"
    before = told.stat().st_mtime_ns
    run(study)
    assert told.stat().st_mtime_ns == before
    opened = open_data

    def mended(name: str) -> list[Sample]:
        return [
            replace(one, labels={name: 1 - value for name, value in one.labels.items()})
            for one in opened(name)
        ]

    monkeypatch.setattr(study_module, "open_data", mended)
    auroc = [figure["value"] for figure in (evaluation_of(told.parent) or {})["figures"]][:1]
    run(study)
    turned = [figure["value"] for figure in (evaluation_of(told.parent) or {})["figures"]][:1]
    assert turned == [pytest.approx(1 - auroc[0])]
    monkeypatch.setattr(study_module, "open_data", opened)
    run(study)
    assert [figure["value"] for figure in (evaluation_of(told.parent) or {})["figures"]][:1] == auroc


def test_figures_are_told_by_group_and_what_was_scored_without_is_scored_anew(
    folded: tuple[Study, list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, done = folded
    monkeypatch.setattr(study_module, "train", None)  # nothing is trained
    (held,) = study.tests.values()
    test = held.model_copy(update={"by": ("view", "data set")})
    column = ("mean of 5 findings", "AUROC", "pairs of one view")
    by = study.model_copy(update={"tests": {"held": test}, "columns": (column,)})
    run(by)
    for folder in (done[0].config.out, done[0].group):
        said = evaluation_of(folder / "test-held") or {}
        assert said["groups"] == ["view", "data set"]
        found = {(one["subject"], one["condition"]) for one in said["figures"] if one["measure"] == "AUROC"}
        assert {("Edema", "data set phantom:60"), (column[0], column[2])} <= found
    table = write_report(by, finished(by)).read_text()
    assert "mean of 5 findings AUROC pairs of one view, held" in table
    # Told by folds, and pooled with what they tell.
    one, whole = (
        read_verdicts(entry / "test-held" / "films.csv").groups
        for entry in (done[0].config.out, done[0].group)
    )
    assert list(one) == list(whole) == ["view", "data set"]
    assert len(one["view"]) < len(whole["view"]) and set(whole["data set"]) == {"phantom:60"}
    (heading, _, *rows) = table.split("\n\n")[1].splitlines()
    assert heading.endswith("| mean of 5 findings, AUROC, pairs of one view |")
    assert all(" to " in row.split("|")[3] for row in rows) and rows
    # What was scored before films were kept with their groups is scored anew.
    path = done[0].config.out / "test-held" / "films.csv"
    with path.open(newline="") as whole:
        rows = [{k: row[k] for k in row if not k.startswith("by ")} for row in csv.DictReader(whole)]
    with path.open("w", newline="") as bare:
        writer = csv.DictWriter(bare, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    run(by)
    assert list(read_verdicts(path).groups) == ["view", "data set"]
    for spoilt in ((column[0], "AUROC by patient", column[2]), (column[0], "AUROC", "pairs of one sex")):
        with pytest.raises(ConfigError, match=r"columns: .*give 'AUROC', and by = \["):
            run(by.model_copy(update={"columns": (spoilt,)}))
    wrong = study.model_copy(update={"tests": {"held": held.model_copy(update={"by": ("weight",)})}})
    with pytest.raises(ConfigError, match="by 'weight'"):
        run(wrong)
    run(study)
    assert "groups" not in (evaluation_of(done[0].group / "test-held") or {})


def test_a_run_on_other_data_is_not_taken_for_this_ones(folded: tuple[Study, list[Entry]]) -> None:
    study, done = folded
    other = done[0].config.model_copy(update={"data": ("phantom:61",)})
    with pytest.raises(ConfigError, match="was trained on phantom:60; move that run away"):
        _ = replace(done[0], config=other).finished
    with pytest.raises(ConfigError, match="task=pretrain has no labels to score"):
        entries(study.model_copy(update={"base": {**study.base, "task": "pretrain"}, "folds": ()}))


def test_runs_are_compared_with_the_baseline_in_pairs(folded: tuple[Study, list[Entry]]) -> None:
    study, done = folded
    table = write_report(study, done).read_text()
    heading, rule, row = table.split("\n\n")[1].splitlines()
    assert heading.startswith("| run minus plain | source to test |") and set(rule) <= set("|- ")
    assert row.startswith("| augmented | here to held | ")
    for cell, column in zip(row.split(" | ")[2:], study.columns, strict=True):
        means = {}
        for name in ("plain", "augmented"):
            groups = {entry.group for entry in done if entry.name == name}
            values = [
                figure["value"]
                for group in groups
                for figure in (evaluation_of(group / "test-held") or {})["figures"]
                if (figure["subject"], figure["measure"]) == column
            ]
            assert len(values) == 2  # seeds
            means[name] = sum(values) / 2
        assert cell.startswith(f"{means['augmented'] - means['plain']:+.4f} (")
    page = (study.out / "folded.html").read_text()
    assert page.count("<svg") == 4
    assert "Differences, paired by film" in page and "Out of fold" in page
    assert "Every label" in page and "Pleural Effusion, AUROC, held" in page
    assert "films with exactly one of the 6, macro F1, held" in page
    assert absent(study, done) == []
    wrong = study.model_copy(update={"columns": (*study.columns, ("Edemma", "AUROC"))})
    (why,) = absent(wrong, done)
    assert why.startswith("columns: Edemma, AUROC: no such figure in held; did you mean Edema, AUROC or")


def test_a_run_of_other_settings_is_told_before_anything_is_trained(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(file)
    stale = next(entry for entry in entries(study) if entry.name == "small")
    about = {"name": "x", "version": "1", "task": "segment", "labels": (), "architecture": "unet"}
    said = stale.config.model_dump(mode="json", exclude={"out", "split"}) | {"epochs": 9}
    card = Card.model_validate({**about, "preparation": {"size": 64}, "config": said})
    (stale.config.out / "checkpoint").mkdir(parents=True)
    (stale.config.out / "checkpoint" / "card.json").write_text(card_json(card))
    trained: list[object] = []
    monkeypatch.setattr(study_module, "train", lambda *about, **_: trained.append(about))
    with pytest.raises(ConfigError, match="was trained with epochs=9"):
        run(study, only=["wide"])
    assert not trained


def test_a_baseline_must_be_a_run(file: Path) -> None:
    study = read_study(file).model_copy(update={"baseline": "tall"})
    with pytest.raises(ConfigError, match="baseline='tall'"):
        entries(study)


def test_a_run_of_before_a_setting_was_there_counts_with_its_default(file: Path) -> None:
    entry = entries(read_study(file))[0]
    about = {"name": "x", "version": "1", "task": "segment", "labels": (), "architecture": "unet"}
    old = entry.config.model_dump(mode="json", exclude={"out", "split", "smoothing"})
    old["preparation"] = {"size": 64}
    card = Card.model_validate({**about, "preparation": {"size": 64}, "config": old})
    (entry.config.out / "checkpoint").mkdir(parents=True)
    (entry.config.out / "checkpoint" / "card.json").write_text(card_json(card))
    assert entry.finished
    other = replace(entry, config=entry.config.model_copy(update={"first_rate": 0.5}))
    with pytest.raises(ConfigError, match=r"was trained with first_rate=1\.0"):
        _ = other.finished
    stranger = card.model_copy(update={"config": old | {"momentum": 0.9}})
    (entry.config.out / "checkpoint" / "card.json").write_text(card_json(stranger))
    with pytest.raises(ConfigError, match="was trained by another version, with momentum"):
        _ = entry.finished


def test_an_unknown_run_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tall'.*small, wide"):
        run(read_study(file), only=["tall"])


def test_seeds_are_told_as_mean_and_spread() -> None:
    low, high, none = ({"value": value, "low": 0.85, "high": 0.95} for value in (0.9, 0.94, None))
    assert spread([low, none, high]) == "0.9200 (sd 0.0283 of 2 seeds)"
    assert spread([low]) == "0.9000 (0.850 to 0.950)"
    assert spread([none]) == ""


def test_a_study_without_a_split_is_refused(file: Path) -> None:
    study: Study = read_study(file)
    base = {key: value for key, value in study.base.items() if key != "split"}
    entry = entries(study.model_copy(update={"base": base}))[0]
    assert isinstance(entry.config, TrainConfig)
    with pytest.raises(ConfigError, match="split="):
        unseen(entry.config, study.tests["here"])


def test_cost_counts_what_can_be_counted_by_hand(file: Path) -> None:
    from hilum.card import Preparation
    from hilum.models import build
    from hilum.training import checkpoint

    folder = file.parent / "checkpoint"
    module = build("unet", 3, seed=0, width=2, depth=1)
    card = Card(
        name="x",
        version="1",
        task="segment",
        labels=("right_lung", "left_lung", "heart"),
        architecture="unet",
        arguments={"width": 2, "depth": 1},
        preparation=Preparation(size=32),
    )
    checkpoint.save(folder, module, card)
    found = cost(folder)
    assert found.parameters == sum(p.numel() for p in module.parameters())
    full, half = 32 * 32, 16 * 16
    # Multiplications: 3 x 3 convolutions down, the 2 x 2 way up, those after the merge, and the head.
    by_hand = 9 * full * (1 * 2 + 2 * 2) + 9 * half * (2 * 4 + 4 * 4)
    by_hand += half * 4 * 2 * 4 + 9 * full * (4 * 2 + 2 * 2) + full * 2 * 3
    assert found.flops == 2 * by_hand
    assert found.milliseconds > 0


def test_a_run_by_another_split_is_not_taken_for_this_ones(file: Path) -> None:
    entry = entries(read_study(file))[0]
    about = {"name": "x", "version": "1", "task": "segment", "labels": (), "architecture": "unet"}
    config = entry.config.model_dump(mode="json", exclude={"out", "split"})
    card = Card.model_validate(
        {**about, "preparation": {"size": 64}, "config": config, "split_sha256": "another"}
    )
    (entry.config.out / "checkpoint").mkdir(parents=True)
    (entry.config.out / "checkpoint" / "card.json").write_text(card_json(card))
    with pytest.raises(ConfigError, match="another split"):
        _ = entry.finished


def test_a_run_that_began_from_what_is_trained_anew_is_not_taken_for_this_ones(
    file: Path, tmp_path: Path
) -> None:
    entry = entries(read_study(file))[0]
    about = {"version": "1", "task": "segment", "labels": (), "architecture": "unet"}
    start = tmp_path / "start"
    config = entry.config.model_copy(update={"start": str(start)})

    def lay(folder: Path, name: str, **more: Any) -> Card:
        card = Card.model_validate({"name": name, **about, "preparation": {"size": 64}, **more})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "card.json").write_text(card_json(card))
        return card

    began = lay(start, "start", files={"model.onnx": "1" * 64})
    said = config.model_dump(mode="json", exclude={"out", "split"})
    lay(config.out / "checkpoint", "x", config=said, weights=origin(began))
    assert replace(entry, config=config).finished
    lay(start, "start", files={"model.onnx": "2" * 64})
    with pytest.raises(
        ConfigError, match=r"began from start 1, SHA-256 111111111111, and .* is start 1, SHA-256 2"
    ):
        _ = replace(entry, config=config).finished
    (start / "card.json").unlink()  # what is gone cannot be asked
    assert replace(entry, config=config).finished


def test_what_starts_or_teaches_a_run_has_not_learned_its_fold(
    folded: tuple[Study, list[Entry]], tmp_path: Path
) -> None:
    study, done = folded
    zero, one = done[0], done[1]
    held = study.tests["held"]
    for setting in ({"start": str(one.config.out)}, {"teachers": (str(one.config.out),)}):
        informed = replace(zero, config=zero.config.model_copy(update=setting))
        with pytest.raises(ConfigError, match="learned from fold 0"):
            unseen(informed.config, held)
        assert unseen(informed.config, held.model_copy(update={"parts": ("test",)}))
    fellow = replace(zero, config=zero.config.model_copy(update={"start": str(zero.config.out)}))
    assert unseen(fellow.config, held)
    # One of another fold may teach where it was kept from the fold that is scored.
    card = read_card(one.config.out / "checkpoint")
    apart = tmp_path / "apart"
    apart.mkdir()
    kept = card.model_copy(update={"config": card.config | {"held": [0]}})
    (apart / "card.json").write_text(card_json(kept))
    pupil = replace(zero, config=zero.config.model_copy(update={"teachers": (str(apart),)}))
    assert unseen(pupil.config, held)


def test_folds_are_for_classifiers_scored_on_their_own_fold(
    file: Path, folded: tuple[Study, list[Entry]]
) -> None:
    outlines = read_study(file)
    tuned = {"here": StudyTest(data=("phantom:16",))}
    with pytest.raises(ConfigError, match="only for classifiers"):
        entries(outlines.model_copy(update={"folds": (0, 1), "tests": tuned}))
    with pytest.raises(ConfigError, match=r"tests\.here\.parts"):
        entries(outlines.model_copy(update={"folds": (0, 1)}))
    wrong = folded[0].model_copy(update={"runs": {"plain": {"seeds": 3}}})
    with pytest.raises(ConfigError, match=r"runs\.plain\.seeds: 3"):
        entries(wrong)


def test_a_figure_without_an_interval_is_told_alone() -> None:
    assert spread([{"value": 0.5, "low": None, "high": None}]) == "0.5000"


def test_a_difference_of_too_few_films_has_neither_interval_nor_p_value() -> None:
    told = []
    for low in (-0.1, float("nan")):
        gain = Gain(subject="Edema", films=6, value=0.02, low=low, high=0.14, p=0.2, corrected=0.4)
        one = Difference(run="a", source="s", test="t", column=("Edema", "AUROC"), gain=gain)
        told.append(difference_table([one], "b")[1][0][2])
    assert told == ["+0.0200 (-0.100 to +0.140), P 0.400", "+0.0200 (too few films)"]


@pytest.mark.parametrize("part", ["tune", "test"])
def test_what_was_trained_by_another_split_neither_starts_nor_teaches_a_run(
    folded: tuple[Study, list[Entry]], tmp_path: Path, part: str
) -> None:
    study, done = folded
    held = study.tests["held"].model_copy(update={"parts": (part,)})
    card = read_card(done[0].config.out / "checkpoint")
    for name, other in (
        ("elsewhere", {"split_sha256": "0" * 64}),
        ("after", {"informed": (ANY,)}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(card_json(card.model_copy(update=other)))
        informed = done[0].config.model_copy(update={"start": str(tmp_path / name)})
        with pytest.raises(
            ConfigError, match="trained by another split, or from such a model, so it may have"
        ):
            unseen(informed, held)
