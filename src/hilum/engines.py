"""The engines that run a graph, ONNX Runtime and OpenVINO, and which builds a machine supports."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hilum.card import Build
from hilum.extras import installed, needs
from hilum.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A graph that is ready to run; several threads may call it at the same time."""

    run: Callable[[Array], list[Array]]  # prepared films (N, C, S, S) float32 -> outputs in order
    films: list[int | str]  # shape of the input; a dimension that varies is a name
    outputs: Mapping[str, list[int | str]]  # name -> shape


def onnxruntime_engine(graph: bytes, threads: int) -> Engine:
    """A graph in ONNX Runtime, on a CUDA device if onnxruntime-gpu is installed, else on the processor.

    `threads` 0 means one for each core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # A graph may name any file for its weights, also one in the working directory. Here no such file can
    # exist: this place is not a folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    # Threads that spin while they wait take cores from threads that decode and segment.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    here = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in here]
    session = onnxruntime.InferenceSession(graph, options, providers=wanted)
    outputs = {output.name: output.shape for output in session.get_outputs()}
    inputs = {wanted.name: wanted.shape for wanted in session.get_inputs()}
    return Engine(
        run=lambda films: list(session.run(list(outputs), {"films": films})),
        films=inputs["films"],
        outputs=outputs,
    )


def openvino_engine(path: Path, threads: int, precision: str) -> Engine:
    """A graph, ONNX or OpenVINO's own, in OpenVINO on the processor; kernels compute in `precision`.

    Raises MissingExtraError where OpenVINO is not installed.
    """
    needs("a build for OpenVINO", "openvino", "openvino")
    import openvino

    core = openvino.Core()
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    compiled = core.compile_model(core.read_model(path), "CPU", hints)
    outputs = {port.get_any_name(): _shape(port.get_partial_shape()) for port in compiled.outputs}

    def run(films: Array) -> list[Array]:
        # Each call has its own request, because several threads may call. Its arrays end with it: copy them.
        found = compiled.create_infer_request().infer({"films": films})
        return [found[name].copy() for name in outputs]

    return Engine(run=run, films=_shape(compiled.inputs[0].get_partial_shape()), outputs=outputs)


def _shape(dimensions: Any) -> list[int | str]:
    return [one.get_length() if one.is_static else "varies" for one in dimensions]


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fit_for(build: Build) -> bool:
    """Whether this machine has the engine of a build, and the instructions that make it faster."""
    # OpenVINO lists int8 among its capabilities on every machine. Without such an instruction its sums of
    # bytes saturate at 16 bits, and results differ from those that were compared.
    if build.precision == "int8" and not _adds_bytes():
        return False
    if build.engine == "openvino":
        return installed("openvino") and build.precision.upper() in _openvino_capabilities()
    return True


@cache
def _openvino_capabilities() -> frozenset[str]:
    import openvino

    return frozenset(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@cache
def _adds_bytes() -> bool:
    """Whether the processor multiplies and adds bytes in one instruction; without it int8 gains little."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("vnni", "asimddp", "amx_int8"))
