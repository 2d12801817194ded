"""A checkpoint's graph and its card, as one callable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.card import Build, Card, read_card
from hilum.engines import fit_for, onnxruntime_engine, openvino_engine
from hilum.errors import CheckpointError, HilumError
from hilum.hub import SCHEME, download
from hilum.store import surviving
from hilum.types import Array

# An ONNX graph names an external file of weights in an entry of TensorProto.external_data with the key
# "location". This matches every encoding of the numbers before it that protobuf allows.
_ELSEWHERE = re.compile(rb"(?:\x0a|\x8a\x80{0,3}\x00)(?:\x08|\x88\x80{0,8}\x00)location")

SHIPPED = Path(__file__).parent / "weights"


def find(name: str | Path) -> Path:
    """The folder of a checkpoint: a shipped name (``hilum-six``), a path, or an address on the hub.

    ``hf://owner/name`` or ``hf://owner/name@revision`` is downloaded. Raises CheckpointError, and
    MissingExtraError without the hub's client.
    """
    if isinstance(name, str) and name.startswith(SCHEME):
        return download(name)
    if isinstance(name, str) and name in shipped_names():
        return SHIPPED / name
    folder = Path(name)
    # A training run keeps its checkpoint in a sub-folder; `name` may be either of them.
    within = surviving(folder / "checkpoint")
    if (within / "card.json").is_file():
        return within
    folder = surviving(folder)
    if not folder.is_dir():
        known = ", ".join(shipped_names()) or "none"
        raise CheckpointError(
            f"{name}: no such checkpoint; shipped are: {known}; or give a checkpoint's folder, or hf://..."
        )
    return folder


def shipped_names() -> list[str]:
    """Names of the checkpoints inside the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/card.json"))


def head_bias(folder: Path) -> Array | None:
    """The bias (C,) of the single linear head of a checkpoint's network; None without head or weights file.

    Reads only the length of the safetensors table, the table, and these numbers. Raises
    CheckpointError for a file of another format.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
            found = json.loads(file.read(length if length <= size else 0)).get("head.bias")
            if found is None or found["dtype"] != "F32":
                return None
            start, end = found["data_offsets"]
            file.seek(8 + length + start)
            return np.frombuffer(file.read(min(end - start, size)), "<f4").reshape(found["shape"])
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        kind = type(error).__name__
        raise CheckpointError(f"{path}: not in the safetensors format ({kind}); restore the file") from None


class Runtime:
    """A loaded checkpoint: films in, the graph's named outputs out.

    Runs the first build in the card that this machine supports, else the graph as it was trained. `build`
    selects one by name, "" the graph. The card's `build` says which one runs. Every file is checked against
    the card's SHA-256; raises CheckpointError if they differ.
    """

    def __init__(self, folder: Path, *, threads: int = 0, build: str | None = None) -> None:
        card = read_card(folder)
        chosen = _chosen(card, build)
        files = chosen.files if chosen else ("model.onnx",)
        contents = [checked(folder / name, card) for name in files]
        path = folder / files[0]
        _check_self_contained(path, contents[0], files)
        try:
            if chosen and chosen.engine == "openvino":
                engine = openvino_engine(path, threads, chosen.precision)
            else:
                engine = onnxruntime_engine(contents[0], threads)
        except HilumError:
            raise
        except Exception as error:  # each engine has its own classes of errors
            kind = type(error).__name__
            raise CheckpointError(f"{path}: not a graph that can be run ({kind}); export it again") from None
        size, channels, labels = card.preparation.size, card.preparation.channels, len(card.labels)
        if engine.films[1:] != [channels, size, size] or engine.outputs.get("logits", [])[1:2] != [labels]:
            raise CheckpointError(f"{path}: takes or gives another shape than its card says; export it again")
        self.card: Card = card.model_copy(update={"build": chosen.name if chosen else ""})
        self._run, self.outputs = engine.run, engine.outputs  # name -> shape, in the graph's order

    def __call__(self, films: Array) -> dict[str, Array]:
        """Prepared films (N, C, S, S) float32 -> the graph's outputs by name, each with N rows."""
        return dict(zip(self.outputs, self._run(films), strict=True))


def _chosen(card: Card, build: str | None) -> Build | None:
    """The build of that name, or the first one supported here; None for the graph as trained."""
    if build is None:
        return next((one for one in card.builds if fit_for(one)), None)
    found = next((one for one in card.builds if one.name == build), None)
    if build and found is None:
        raise CheckpointError(f"{card.name}: has no build {build!r}; make it with hilum export")
    return found


def _check_self_contained(path: Path, graph: bytes, files: Sequence[str]) -> None:
    """Refuse weights that no hash in the card covers; an engine would load what the graph names."""
    beside = path.with_suffix(".bin")
    if path.suffix == ".xml":  # OpenVINO's own format keeps its weights there
        elsewhere = beside.name not in files and beside.exists()
    else:
        elsewhere = _ELSEWHERE.search(graph) is not None
    if elsewhere:
        raise CheckpointError(
            f"{path}: keeps weights in a file that its card does not name; save them within the graph"
        )


def checked(path: Path, card: Card) -> bytes:
    """A file's bytes, if their SHA-256 is the card's; raises CheckpointError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; restore the checkpoint folder") from None
    if hashlib.sha256(content).hexdigest() != card.files.get(path.name, ""):
        raise CheckpointError(f"{path}: SHA-256 differs from the card's; the file was changed or damaged")
    return content
