"""A faster build of a checkpoint's graph, compared with the graph as trained on labelled films."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from hilum.card import CARD, Build, Card, card_json, copy_files, refuse_overwrite
from hilum.data.cache import Cache
from hilum.engines import fit_for
from hilum.errors import CheckpointError, ConfigError
from hilum.evaluation.evaluate import evaluate, inputs_of, judge
from hilum.evaluation.verdicts import both_ways
from hilum.extras import needs
from hilum.prepare import prepare
from hilum.runtime import Runtime, find
from hilum.statistics.metrics import auroc
from hilum.store import drafted, sha256
from hilum.types import Array, Tick

MOST_LOST = {"mean AUROC": 0.003, "mean Dice": 0.002}
"""The loss of each measure up to which a build is written."""

_CALIBRATING = 100  # films, at most, that set the range of each layer's values for int8
_FEWEST = 20  # films to compare on
_TIMED = 24  # films that the clock runs over

Target = Literal["onnx", "openvino"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The result of an export."""

    card: Card
    build: Build
    before_ms: float  # per film, for the graph as trained, on this machine
    after_ms: float


def export(
    name: str | Path,
    cache: Cache,
    out: Path,
    *,
    to: Target,
    int8: bool,
    data: str = "",
    tick: Tick | None = None,
) -> Exported:
    """Write ``out/checkpoint``: the checkpoint with a faster build beside its graph, used from then on.

    `cache` holds labelled or segmented films as `films_for` gives them. A quarter of them, up to a hundred,
    set the value ranges for int8; both graphs are compared on the others. If the build loses more than
    MOST_LOST, nothing is written and CheckpointError is raised. Raises ConfigError for an export that is not
    possible, and MissingExtraError if packages are missing.
    """
    refuse_overwrite(out)
    folder = find(name)
    trained = Runtime(folder, build="")
    build = planned(trained.card, to=to, int8=int8)
    if trained.card.task == "segment" and cache.masks is None:
        raise ConfigError("the films have no masks to compare outlines with; give masks:PATH")
    if len(cache.samples) < _FEWEST:
        raise ConfigError(f"{len(cache.samples)} films; give {_FEWEST} or more to compare the builds on")
    every = max(4, -(-len(cache.samples) // _CALIBRATING))
    ranging = np.arange(0, len(cache.samples), every)
    comparing = _some(cache, np.setdiff1d(np.arange(len(cache.samples)), ranging))
    labels = trained.card.labels if trained.card.task == "classify" else ()
    if labels and not both_ways(comparing.truth(labels), range(len(labels))):
        raise ConfigError(
            "the films show no label both present and absent, so the builds cannot be compared; give other "
            "films"
        )
    with _unless_empty(out), drafted(out / "checkpoint") as draft:
        copy_files(folder, draft, trained.card)
        _write_files(build, draft, _inputs(trained.card, _some(cache, ranging)))
        _write_card(trained.card, build, draft)
        faster = Runtime(draft, build=build.name)
        before, after = (_measured(one, comparing, tick) for one in (trained, faster))
        build = build.model_copy(
            update={"before": before, "after": after, "films": len(comparing.samples), "data": data}
        )
        if not before - after <= MOST_LOST[build.measure]:  # also if either is NaN
            raise CheckpointError(
                f"{trained.card.name}: as {build.name} it has a {build.measure} of {after:.4f} for "
                f"{before:.4f} on {build.films} films, which is more than {MOST_LOST[build.measure]} lost; "
                "nothing was written"
            )
        card = _write_card(trained.card, build, draft)
        taken = _timed(trained, faster, _inputs(card, _some(comparing, np.arange(_TIMED))))
    return Exported(card=card, build=build, before_ms=taken[0], after_ms=taken[1])


@contextmanager
def _unless_empty(out: Path) -> Iterator[None]:
    """Remove the folder afterwards if it is empty."""
    try:
        yield
    finally:
        with suppress(OSError):
            out.rmdir()


def planned(card: Card, *, to: Target, int8: bool) -> Build:
    """The build to make, before it is compared.

    Raises ConfigError if it is not possible, or not on this machine, and MissingExtraError.
    """
    if to == "onnx" and not int8:
        raise ConfigError("to onnx: the checkpoint's model.onnx is that already; add --int8")
    if card.task == "pretrain":
        raise ConfigError(f"{card.name}: was only pre-trained; train it on labels first")
    if to == "openvino":
        needs("a build for OpenVINO", "openvino", "openvino")
    if int8:
        needs("int8", "train", "onnx")
    graph = f"model.{'int8' if int8 else 'openvino'}.xml"
    build = Build(
        engine="onnxruntime" if to == "onnx" else "openvino",
        precision="int8" if int8 else "bf16",
        files=("model.int8.onnx",) if to == "onnx" else (graph, graph.replace(".xml", ".bin")),
        measure="mean AUROC" if card.task == "classify" else "mean Dice",
        before=0.0,
        after=0.0,
        films=0,
    )
    if not fit_for(build):  # it would run, but with other arithmetic than on its target
        raise ConfigError(
            f"{build.name}: this processor lacks the instructions that the build needs, so it cannot be "
            "compared here; export on one that has them"
        )
    return build


def _some(cache: Cache, which: Array) -> Cache:
    """A part of a cache's films, in memory."""
    which = which[which < len(cache.samples)]
    return replace(
        cache,
        samples=tuple(cache.samples[i] for i in which),
        films=cache.films[which],
        masks=None if cache.masks is None else cache.masks[which],
    )


def _inputs(card: Card, cache: Cache) -> Array:
    """Films as the network takes them, (N, C, S, S) float32."""
    if card.task == "classify":
        return inputs_of(cache, card)
    return np.stack([prepare(film, card.preparation) for film in cache.pixels(slice(None))])


def _write_files(build: Build, draft: Path, films: Array) -> None:
    """Write the build's files beside the draft's graph; `films` set the value ranges for int8."""
    graph = draft / "model.onnx"
    # Not in the draft: an earlier build for ONNX Runtime may have the same name there.
    with tempfile.TemporaryDirectory() as folder:
        if build.precision == "int8":
            bytes_ = (draft if build.engine == "onnxruntime" else Path(folder)) / "model.int8.onnx"
            _quantise(graph, bytes_, films)
            graph = bytes_
        if build.engine == "openvino":
            _openvino(graph, draft / build.files[0])


def _write_card(card: Card, build: Build, draft: Path) -> Card:
    """The card with the build first, in the draft's folder."""
    others = [one for one in card.builds if one.name != build.name]
    own = {name: sha256(draft / name) for name in build.files}
    card = card.model_copy(update={"builds": (build, *others), "files": card.files | own})
    (draft / CARD).write_text(card_json(card), encoding="utf-8")
    return card


def _quantise(graph: Path, target: Path, films: Array) -> None:
    """Quantise the graph to int8 with ranges from these films; the output nodes stay in single precision.

    Source: ONNX Runtime's static quantisation with QDQ nodes.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Films(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Array] = iter(films[:, None])

        def get_next(self) -> dict[str, Array] | None:
            return next(({"films": film} for film in self._left), None)

    with tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        options = onnxruntime.SessionOptions()
        # Half-precision kernels become single-precision ones, and batch normalisation is folded into them.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(plain)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        model = onnx.load(ready).graph
        heads = {output.name for output in model.output}
        quantize_static(
            str(ready),
            str(target),
            Films(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in model.node if heads & set(node.output)],
        )


def _openvino(graph: Path, target: Path) -> None:
    """Save the graph in OpenVINO's format: the file `target`, and its weights beside it."""
    import openvino

    # Read, not converted: `openvino.convert_model` sends telemetry.
    openvino.save_model(openvino.Core().read_model(graph), target, compress_to_fp16=False)


def _measured(runtime: Runtime, cache: Cache, tick: Tick | None) -> float:
    """Mean AUROC over a classifier's labels, or a segmenter's mean Dice over films and structures."""
    if runtime.card.task == "segment":
        outlines = evaluate(runtime, cache, repeats=1, tick=tick).tables["outlines"]
        return statistics.fmean(row["Dice"] for row in outlines)
    said = judge(runtime, cache, tick=tick)
    scores = [auroc(*pair) for pair in zip(said.truth.T, said.probabilities.T, strict=True)]
    known = [score for score in scores if score == score]
    return statistics.fmean(known) if known else float("nan")


def _timed(old: Runtime, new: Runtime, films: Array) -> tuple[float, float]:
    """Median milliseconds per film of both, one film at a time, the two in turn."""
    taken: tuple[list[float], list[float]] = [], []
    for film in films:
        for runtime, times in zip((old, new), taken, strict=True):
            began = time.perf_counter()
            runtime(film[None])
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[0]), statistics.median(taken[1])
