"""The card: what a checkpoint folder says about its model, in one JSON file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hilum.errors import CheckpointError, ConfigError
from hilum.store import drafted

CARD = "card.json"

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""The name of a file beside the card. It is never a path, because a card may come from anybody."""


class Strict(BaseModel):
    """Fields that are frozen, and of which none may be unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preparation(Strict):
    """How a film becomes the network's input; training and inference share it."""

    size: int = Field(ge=32, le=2048, description="side of the square input, pixels")
    low: float = Field(default=1.0, ge=0, lt=50, description="percentile of grey levels that becomes 0")
    high: float = Field(default=99.0, gt=50, le=100, description="percentile of grey levels that becomes 1")
    mean: float = Field(default=0.5, description="subtracted after the grey levels are stretched to [0, 1]")
    std: float = Field(default=0.25, gt=0, description="divisor after the mean is subtracted")
    detail: int = Field(
        default=0,
        ge=0,
        description="side to which films are shrunk first, so that all show the same detail; 0: no shrinking",
    )
    mask_diaphragm: bool = Field(default=False, description="make the largest very bright part black")
    equalise: Literal["none", "histogram", "clahe"] = Field(default="none", description="of grey levels")
    smooth: Literal["none", "gaussian", "bilateral"] = Field(default="none", description="of the film")
    region: Literal["film", "crop", "lungs", "outlines", "crop-outlines"] = Field(
        default="film",
        description="film: the whole film; crop: cut to lungs and heart with a margin; lungs: all else "
        "black; outlines: the film, and channels for both lungs, heart and cardiothoracic "
        "ratio; crop-outlines: the same, cut",
    )

    @property
    def outlined(self) -> bool:
        """Whether the network's input shows the film's outlines."""
        return self.region in ("lungs", "outlines", "crop-outlines")

    @property
    def cut(self) -> bool:
        """Whether the network sees the film cut to the chest."""
        return self.region in ("crop", "crop-outlines")

    @property
    def channels(self) -> int:
        """Number of channels of the network's input."""
        return 5 if self.region in ("outlines", "crop-outlines") else 1


class Calibration(Strict):
    """Platt scaling of one label: probability = sigmoid(slope * logit + intercept).

    For mutually exclusive labels, the softmax of slope * logit + intercept over all labels.
    """

    slope: float = Field(default=1.0, gt=0)
    intercept: float = 0.0
    events: int = Field(default=0, ge=0, description="positive films it was fitted on")
    films: str = Field(default="", description="films it was fitted on; empty: the tuning films")
    prevalence: float | None = Field(default=None, description="prevalence it was corrected for, if any")


class Threshold(Strict):
    """Where one label turns positive, and the band around it in which the model abstains."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1, description="from here up to `high` the model abstains")
    high: float = Field(ge=0, le=1)
    rule: str = Field(description="how the threshold was chosen")
    films: str = Field(default="", description="films it was chosen on; empty: the tuning films")


class Sets(Strict):
    """Prediction sets of one label, as of `hilum.calibration.conformal`: the answers not excluded."""

    coverage: float = Field(gt=0, lt=1, description="chance that the set holds the true answer")
    present: float = Field(ge=0, le=1, description="from here up the label cannot be excluded")
    absent: float = Field(ge=0, le=1, description="up to here its absence cannot be excluded")
    patients: tuple[int, int] = Field(description="patients with and without the label they were fitted on")
    reached: tuple[tuple[float, float], tuple[float, float]] = Field(
        description="95 % interval of the true coverage, with and without the label"
    )
    films: str = Field(default="", description="films they were fitted on; empty: the tuning films")


class Reliability(Strict):
    """Maps the Dice predicted for one structure to the quality of its outline: `hilum.quality.judge`."""

    intercept: float
    slope: float = Field(ge=0, description="slope on the log of 1 - Dice")
    threshold: float = Field(ge=0, le=1, description="quality below which the outline is not reliable")


class Metric(Strict):
    """One figure with its 95 % interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0, description="number of films it was measured on")
    part: str = Field(description="'tuning', 'test', ...")


class Build(Strict):
    """A faster form of the graph, and what it costs in accuracy, as `hilum export` measured it."""

    engine: Literal["onnxruntime", "openvino"]
    precision: Literal["int8", "bf16"] = Field(description="number format of its multiplications")
    files: tuple[FileName, ...] = Field(min_length=1, description="its files, the graph first")
    measure: str = Field(description="the figure that was compared")
    before: float = Field(description="the figure of the graph as it was trained")
    after: float = Field(description="the figure of this build on the same films")
    films: int = Field(ge=0, description="number of films of the comparison")
    data: str = Field(default="", description="the films of the comparison")

    @property
    def name(self) -> str:
        """The name of the build in results."""
        return f"{self.engine}-{self.precision}"


class Source(Strict):
    """A data set a model was trained on."""

    name: str = Field(description="KIND and name of the folder, without its path")
    films: int
    patients: int


ANY = "any"
"""In the place of a fold: any of them, because the start of the training used another split."""


class Card(Strict):
    """Everything a user of a checkpoint must know; the file ``card.json``."""

    name: str
    version: str
    task: Literal["segment", "classify", "pretrain"]
    labels: tuple[str, ...] = Field(description="one for each output channel, in the graph's order")
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    architecture: str = Field(description="a name of hilum.models.MODELS")
    arguments: dict[str, Any] = Field(default_factory=dict)
    preparation: Preparation
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    leaning: dict[str, float] = Field(
        default_factory=dict,
        description="for mutually exclusive labels, where training weighted rare ones up: added to the log "
        "of a label's probability before the largest is called",
    )
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    points: dict[str, dict[str, Threshold]] = Field(
        default_factory=dict, description="operating point -> label -> threshold; one of them is active"
    )
    sets: dict[str, Sets] = Field(
        default_factory=dict, description="prediction sets, of labels with enough patients"
    )
    reliability: dict[str, Reliability] = Field(
        default_factory=dict, description="structure -> reliability of its outline"
    )
    threshold_data: str = Field(default="", description="the films the thresholds were chosen on")
    sources: tuple[Source, ...] = ()
    outlines_sha256: str = Field(
        default="", description="hash of the segmenter whose outlines cut the films or are part of the input"
    )
    split_sha256: str = Field(default="", description="hash of the patient split that held films back")
    metrics: tuple[Metric, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    weights: str = Field(
        default="",
        description="weights that training began from: a package, a hub or a checkpoint; empty: random",
    )
    informed: tuple[str, ...] = Field(
        default=(),
        description="folds held back here that its start or teachers learned from; any: they were trained by "
        "another split and may have learned from any patient",
    )
    commit: str = ""
    seed: int = 0
    packages: dict[str, str] = Field(default_factory=dict)
    files: dict[FileName, str] = Field(default_factory=dict, description="file name -> SHA-256")
    builds: tuple[Build, ...] = Field(
        default=(), description="faster builds; the first one that this machine supports runs"
    )
    build: str = Field(
        default="", exclude=True, description="the build that runs here; empty: the graph as trained"
    )
    intended_use: str = ""
    citations: tuple[str, ...] = ()

    @property
    def unlearned(self) -> frozenset[int]:
        """The folds of its split that neither the model nor its start learned from."""
        return frozenset() if ANY in self.informed else self.kept - {int(fold) for fold in self.informed}

    @property
    def kept(self) -> frozenset[int]:
        """The folds of its split that the model was not trained on."""
        return frozenset(
            fold for fold in (self.config.get("fold"), *self.config.get("held", ())) if fold is not None
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of the ONNX graph: the model's identity in every result."""
        return self.files.get("model.onnx", "")

    @property
    def ranks(self) -> bool:
        """Whether it has no thresholds and calls the label that ranks first."""
        return self.activation == "softmax" and not self.thresholds

    @property
    def weighed(self) -> bool:
        """Whether training weighted rare labels up."""
        ways = ("weighting", "none"), ("sampling", "even"), ("loss", "cross-entropy")
        return any(self.config.get(name, plain) != plain for name, plain in ways)

    @property
    def preprocessing(self) -> str:
        """Short name of the preprocessing, equal for equal parameters."""
        p = self.preparation
        steps = ["diaphragm"] * p.mask_diaphragm + [step for step in (p.equalise, p.smooth) if step != "none"]
        if p.detail:
            steps.insert(0, f"detail-{p.detail}")
        if p.region != "film":
            steps.append(p.region)
        return "-".join([f"stretch-{p.size}-p{p.low:g}-{p.high:g}-m{p.mean:g}-s{p.std:g}", *steps])


def read_card(folder: Path) -> Card:
    """Read and check ``folder/card.json``; raises CheckpointError when it is missing or malformed."""
    path = folder / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError:
        raise CheckpointError(f"{folder}: no {CARD}; give the folder of a Hilum checkpoint") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise CheckpointError(f"{path}: {where}: {first['msg']}; the card is damaged or too new") from None


def card_json(card: Card) -> str:
    """The card as indented JSON, ending in a newline."""
    return json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def refuse_overwrite(out: Path) -> None:
    """Raise ConfigError where ``out/checkpoint`` is there already: no checkpoint is ever overwritten."""
    if (out / "checkpoint").exists():
        raise ConfigError(f"{out}: holds a checkpoint already; choose another out")


def copied(folder: Path, out: Path, card: Card) -> None:
    """Write the files of a checkpoint's folder to `out`, with another card."""
    with drafted(out) as draft:
        copy_files(folder, draft, card)
        (draft / CARD).write_text(card_json(card), encoding="utf-8")


def copy_files(folder: Path, draft: Path, card: Card) -> None:
    """Copy those files of a checkpoint that exist: the light install lacks what only training needs."""
    for name in card.files:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, draft / name)
