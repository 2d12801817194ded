"""Tensors of the Open Inference Protocol (version 2, REST): as JSON, or binary after the JSON."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.serve.faults import ServiceError
from hilum.serve.wire import encoded
from hilum.types import Array

LENGTH = "inference-header-content-length"
"""Header with the length of the JSON, after which binary tensors begin (the binary tensor data extension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An inference request."""

    id: str
    inputs: Mapping[str, Array | list[bytes]]
    outputs: Mapping[str, bool]  # name -> whether it is wanted in binary; empty: all outputs
    binary: bool  # whether outputs not named are wanted in binary


def asked(body: bytes, length: str | None) -> Ask:
    """Parse a request: FP32 inputs become arrays, BYTES lists. Raises ServiceError if it is malformed."""
    try:
        return _asked(body, len(body) if length is None else int(length))
    except ServiceError:
        raise
    except Exception as error:  # foreign JSON may have any shape
        raise malformed(f"not a request of the protocol ({type(error).__name__})") from None


def _asked(body: bytes, end: int) -> Ask:
    if not 0 <= end <= len(body):
        raise malformed(f"{LENGTH} is longer than the body")
    ask, rest = json.loads(body[:end]), memoryview(body)[end:]
    inputs: dict[str, Array | list[bytes]] = {}
    for tensor in ask["inputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is not None and not 0 <= size <= len(rest):
            raise malformed("binary_data_size exceeds the body")
        raw, rest = (None, rest) if size is None else (rest[:size], rest[size:])
        inputs[str(tensor["name"])] = _tensor(tensor, raw)
    wanted = {
        str(one["name"]): bool(one.get("parameters", {}).get("binary_data")) for one in ask.get("outputs", [])
    }
    binary = bool(ask.get("parameters", {}).get("binary_data_output"))
    return Ask(id=str(ask.get("id", ""))[:128], inputs=inputs, outputs=wanted, binary=binary)


def answered(
    ask: Ask, model: str, version: str, outputs: Mapping[str, Array | bytes]
) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON if binary tensors follow. Raises ServiceError for an
    unknown output."""
    if unknown := set(ask.outputs) - set(outputs):
        raise malformed(f"no output {min(unknown)[:64]}; the outputs are {', '.join(outputs)}")
    told, parts = [], []
    for name, values in outputs.items():
        if ask.outputs and name not in ask.outputs:
            continue
        text = isinstance(values, bytes)
        shape = [1] if isinstance(values, bytes) else list(values.shape)
        one: dict[str, Any] = {"name": name, "datatype": "BYTES" if text else "FP32", "shape": shape}
        if ask.outputs.get(name, ask.binary):
            part = _packed(values) if isinstance(values, bytes) else values.astype("<f4").tobytes()
            one["parameters"] = {"binary_data_size": len(part)}
            parts.append(part)
        else:
            one["data"] = [values.decode()] if isinstance(values, bytes) else values.ravel().tolist()
        told.append(one)
    document = {"model_name": model, "model_version": version, "outputs": told}
    text_part = encoded(document | ({"id": ask.id} if ask.id else {}))
    return b"".join([text_part, *parts]), len(text_part) if parts else None


def malformed(reason: str) -> ServiceError:
    """The answer to a request that does not follow the protocol."""
    return ServiceError(400, "malformed", reason, "see the Open Inference Protocol, version 2")


_SIDES = 8  # most dimensions of a tensor; known models use fewer


def _tensor(tensor: Mapping[str, Any], raw: memoryview | None) -> Array | list[bytes]:
    kind, shape = tensor["datatype"], [int(side) for side in tensor["shape"]]
    if len(shape) > _SIDES or any(not 1 <= side < 2**31 for side in shape):  # their product is computed below
        raise malformed(f"a shape of more than {_SIDES} sides, or a side outside 1 to 2**31")
    if kind == "FP32":
        flat = np.array(_flat(tensor["data"]), "<f4") if raw is None else np.frombuffer(raw, "<f4")
        if flat.size != math.prod(shape):
            raise malformed(f"{flat.size} numbers, but the shape has {math.prod(shape)}")
        if not np.isfinite(flat).all():
            raise malformed("numbers that are not finite")
        return flat.reshape(shape).astype(np.float32)
    if kind != "BYTES":
        raise malformed("a datatype that is neither FP32 nor BYTES")
    found = _unpacked(raw) if raw is not None else [base64.b64decode(one) for one in _flat(tensor["data"])]
    if len(found) != math.prod(shape):
        raise malformed(f"{len(found)} elements, but the shape has {math.prod(shape)}")
    return found


def _flat(data: Any) -> list[Any]:
    """The protocol allows numbers nested by shape, or flat."""
    while data and isinstance(data[0], list):
        data = [one for row in data for one in row]
    return list(data)


def _packed(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


def _unpacked(raw: memoryview) -> list[bytes]:
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        if len(raw) < 4 + size:
            raise malformed("a BYTES element longer than its tensor")
        found.append(bytes(raw[4 : 4 + size]))
        raw = raw[4 + size :]
    return found
