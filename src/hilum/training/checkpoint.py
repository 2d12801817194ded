"""The checkpoint folder as training writes it: model.safetensors, model.onnx, card.json."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hilum.card import CARD, Card, card_json, read_card
from hilum.errors import CheckpointError
from hilum.models import build
from hilum.runtime import Runtime, find
from hilum.store import drafted, sha256
from hilum.training.state import write_tensors

WEIGHTS = "model.safetensors"
GRAPH = "model.onnx"

SMALL = 20_000  # a kernel of fewer numbers stays in single precision: depthwise ones would spread the error


def save(folder: Path, module: nn.Module, card: Card) -> Card:
    """Write the checkpoint whole or not at all; returns the card with the files' hashes filled in.

    Large kernels are stored in half precision and used in single precision. This nearly halves the files and
    changes a logit by about 0.001. Raises CheckpointError if the graph disagrees with the module.
    """
    with drafted(folder) as draft:
        weights = {name: _halved(value).contiguous() for name, value in module.state_dict().items()}
        write_tensors(weights, draft / WEIGHTS)
        module = _network(card)
        module.load_state_dict(_loaded(draft / WEIGHTS))
        _export(module.eval(), draft / GRAPH, card)
        files = {path.name: sha256(path) for path in sorted(draft.iterdir())}
        card = card.model_copy(update={"files": files})
        (draft / CARD).write_text(card_json(card), encoding="utf-8")
        _agree(module, draft)
    return card


def load(name: str | Path) -> tuple[nn.Module, Card]:
    """Module, in evaluation mode, and card of a checkpoint, by its folder or a shipped model's name."""
    folder = find(name)
    card = read_card(folder)
    path = folder / WEIGHTS
    if not path.is_file() or sha256(path) != card.files.get(WEIGHTS):
        raise CheckpointError(
            f"{path}: missing or not the file its card names; restore the checkpoint folder"
        )
    module = _network(card)
    try:
        module.load_state_dict(_loaded(path))
    except (safetensors.SafetensorError, RuntimeError) as error:  # although the hash is right
        kind = type(error).__name__
        raise CheckpointError(
            f"{path}: its weights do not fit the card's network ({kind}); train it again"
        ) from None
    return module.eval(), card


def transplant(
    module: nn.Module, name: str | Path, labels: Sequence[str] = (), head: Collection[str] = ()
) -> tuple[Card, list[str]]:
    """Copy into `module` every weight of a checkpoint that fits by name and shape.

    The weights `head` have a row for each of `labels`: rows of labels that the checkpoint has are copied, in
    whatever order it has them. Returns the checkpoint's card, and the names of the weights that are not, or
    only partly, copied. Raises CheckpointError if fewer than half fit: then the architecture is another one.
    """
    trained, card = load(name)
    theirs = trained.state_dict()
    own = module.state_dict()
    first = next((key for key, value in own.items() if value.ndim == 4), None)
    if first in theirs and theirs[first].shape[1] != own[first].shape[1]:
        theirs[first] = _widened(theirs[first], own[first].shape[1])
    for key in set(head) & set(theirs):
        theirs[key] = _relabelled(own[key], labels, theirs[key], card.labels)
    drawn = set(head) if set(labels) - set(card.labels) else set()
    fitting = {key: value for key, value in theirs.items() if key in own and own[key].shape == value.shape}
    if 2 * len(fitting) < len(own):
        raise CheckpointError(
            f"{name}: does not fit this network; set architecture={card.architecture!r} and "
            f"arguments={card.arguments}"
        )
    module.load_state_dict(own | fitting)
    return card, sorted((set(own) - set(fitting)) | drawn)


def _relabelled(own: Tensor, labels: Sequence[str], theirs: Tensor, known: Sequence[str]) -> Tensor:
    """A head's own rows, with those of labels that the other head has replaced by the other's."""
    rows = own.clone()
    if rows.shape[1:] == theirs.shape[1:] and len(theirs) == len(known):
        for i, label in enumerate(labels):
            if label in known:
                rows[i] = theirs[known.index(label)]
    return rows


def _widened(kernel: Tensor, channels: int) -> Tensor:
    """A first layer for more channels, the added ones zero, or for fewer channels."""
    silent = kernel.new_zeros(len(kernel), max(0, channels - kernel.shape[1]), *kernel.shape[2:])
    return torch.cat([kernel[:, :channels], silent], dim=1)


def _network(card: Card) -> nn.Module:
    """The card's network, with weights yet to be loaded."""
    channels = card.preparation.channels
    return build(card.architecture, len(card.labels), seed=0, channels=channels, **card.arguments)


def _halved(value: Tensor) -> Tensor:
    """Large kernels in half precision; small ones, biases and statistics unchanged."""
    return value.half() if value.is_floating_point() and value.ndim > 1 and value.numel() > SMALL else value


def _loaded(path: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = safetensors.torch.load_file(path)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in weights.items()}


def _export(module: nn.Module, path: Path, card: Card) -> None:
    films = torch.zeros(2, card.preparation.channels, card.preparation.size, card.preparation.size)
    # The exporter needs half as long again for in-place activations, and writes the same graph.
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    with torch.no_grad():
        names = list(module(films))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module,
            (films,),
            dynamo=True,
            dynamic_shapes={"films": {0: torch.export.Dim("batch")}},
            input_names=["films"],
            output_names=names,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - with dynamo=True a program always comes back
    _store_half(program.model_proto, path)


def _store_half(graph: onnx.ModelProto, path: Path) -> None:
    """Save the graph with large kernels in half precision; they are cast to single when it is loaded."""
    casts = []
    for weight in graph.graph.initializer:
        large = len(weight.dims) > 1 and np.prod(weight.dims) > SMALL
        if large and weight.data_type == onnx.TensorProto.FLOAT:
            name = weight.name
            half = onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = casts + list(graph.graph.node)
    # The exporter records the source location of each node, with absolute paths.
    for noted in (graph.graph, *nodes, *graph.graph.input, *graph.graph.output):
        del noted.metadata_props[:]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    del graph.graph.value_info[:]
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _agree(module: nn.Module, folder: Path) -> None:
    runtime = Runtime(folder)
    size, channels = runtime.card.preparation.size, runtime.card.preparation.channels
    films = np.random.default_rng(0).normal(size=(2, channels, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(films))["logits"].numpy()
    gap = float(np.abs(runtime(films)["logits"] - expected).max())
    if not gap <= 0.02 * max(1.0, float(np.abs(expected).max())):  # also if it is NaN
        raise CheckpointError(
            f"{folder / GRAPH}: logits differ from torch's by {gap:.3g}; the export is wrong; "
            "report this with the versions of torch and onnxscript"
        )
