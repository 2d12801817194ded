"""An ONNX graph and its card, as one callable."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from hilum.card import Card, read_card
from hilum.errors import CheckpointError
from hilum.types import Array

SHIPPED = Path(__file__).parent / "weights"


def find(name: str | Path) -> Path:
    """The folder of a shipped checkpoint's name (``hilum-six``), or of a path to one."""
    shipped = SHIPPED / name
    if isinstance(name, str) and name in shipped_names():
        return shipped
    folder = Path(name)
    # A training run keeps its checkpoint in a sub-folder; both the run and the checkpoint may be named.
    if (folder / "checkpoint" / "card.json").is_file():
        return folder / "checkpoint"
    if not folder.is_dir():
        known = ", ".join(shipped_names()) or "none"
        raise CheckpointError(
            f"{name}: no such checkpoint; shipped are: {known}; or give a checkpoint's folder"
        )
    return folder


def shipped_names() -> list[str]:
    """Names of the checkpoints inside the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/card.json"))


def head_bias(folder: Path) -> Array | None:
    """The bias (C,) of the one linear head of a checkpoint's network; None where it has none, or no weights.

    Of the safetensors format no more is read than that: the table's length, the table, the numbers.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(length)).get("head.bias")
        if found is None or found["dtype"] != "F32":
            return None
        start, end = found["data_offsets"]
        file.seek(8 + length + start)
        return np.frombuffer(file.read(end - start), "<f4")


class Runtime:
    """A loaded checkpoint: films in, the graph's named outputs out.

    The graph's SHA-256 is checked against the card; raises CheckpointError when they differ.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        import onnxruntime

        self.card: Card = read_card(folder)
        path = folder / "model.onnx"
        try:
            graph = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}; restore the checkpoint folder") from None
        if hashlib.sha256(graph).hexdigest() != self.card.sha256:
            raise CheckpointError(f"{path}: SHA-256 differs from the card's; the file was changed or damaged")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: one for each core
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of its own for every way to fail
            kind = type(error).__name__
            raise CheckpointError(
                f"{path}: not a graph that ONNX Runtime can run ({kind}); export it again"
            ) from None
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        size, channels = self.card.preparation.size, self.card.preparation.channels
        labels = len(self.card.labels)
        if self._session.get_inputs()[0].shape[1:] != [channels, size, size] or outputs.get("logits", [])[
            1:2
        ] != [labels]:
            raise CheckpointError(f"{path}: takes or gives another shape than its card says; export it again")
        self.outputs: dict[str, list[int | str]] = outputs  # name -> shape; a size not fixed has a name

    def __call__(self, films: Array) -> dict[str, Array]:
        """Prepared films (N, 1, S, S) float32 -> the graph's outputs by name, each with N rows."""
        values = self._session.run(list(self.outputs), {"films": films})
        return dict(zip(self.outputs, values, strict=True))
