"""Imports run one way, prediction never needs torch, and `import hilum` costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hilum

PACKAGE = Path(hilum.__file__).parent
ROOT = Path(__file__).parents[1]

# The house, from the ground up: packages and single modules. Each may import those of the floors below its
# own, and within a package imports go round nowhere.
FLOORS = """
    __init__ errors labels progress
    extras store types
    augment card explain measure needs_train reading statistics
    calibration config engines hub models prepare quality toml_files
    outline runtime
    gate segment
    classify reporting
    dicom hub_upload pipeline
    data pacs report_files selftest serve
    bulk evaluation
    adapting leakage training
    studies
    commands
    cli
"""

# Resolved when called, so that the records at the bottom can write themselves.
UPWARDS = {("types", "explain"), ("types", "report_files"), ("types", "reporting.notebook")}


def modules() -> dict[str, Path]:
    """Name below the package -> file; a package goes by its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def place(name: str) -> str:
    """The package of a module, or the module itself where it lies in none."""
    return name.partition(".")[0]


MODULES = modules()
FLOOR = {name: floor for floor, names in enumerate(FLOORS.strip().splitlines()) for name in names.split()}


def imported(path: Path) -> Iterator[str]:
    """The package's own modules that a file imports, also in functions, but not for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names = [name if name.removeprefix("hilum.") in MODULES else str(node.module) for name in whole]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "hilum":
                yield name.removeprefix("hilum.") if name != "hilum" else "__init__"


def test_every_module_has_its_floor() -> None:
    assert {place(name) for name in MODULES} == FLOOR.keys(), (
        "give the module or its package a place in FLOORS"
    )


def test_the_check_sees_imports_at_the_top_inside_functions_and_of_submodules() -> None:
    assert {"errors", "__init__", "runtime", "commands.train"} <= set(imported(MODULES["cli"]))
    assert {"config", "training.train"} <= set(imported(MODULES["commands.train"]))
    assert {"errors", "explain", "report_files", "reporting.notebook"} == set(
        imported(MODULES["types"])
    )  # the card is for type checking alone
    assert {"data.phantom", "data.sources.table"} <= set(imported(MODULES["data"]))


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name: str) -> None:
    for other in imported(MODULES[name]):
        if place(other) != place(name) and (name, other) not in UPWARDS:
            assert FLOOR[place(other)] < FLOOR[place(name)], f"hilum.{name} imports hilum.{other}, no lower"


def test_imports_go_round_nowhere() -> None:
    """Nor do they where importing a module imports the packages that it lies in."""
    needs: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        found = {other for other in imported(path) if (name, other) not in UPWARDS}
        own = {name, *packages(name)}
        needs[name] = found | {above for other in found for above in packages(other)} - own
    assert len(list(TopologicalSorter(needs).static_order())) == len(MODULES)


def packages(name: str) -> list[str]:
    """Those that a module lies in, which are imported before it."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_TRAINING = """
import sys

TRAINING = {"torch", "timm", "lightning_fabric", "sklearn", "matplotlib", "safetensors", "onnx"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in TRAINING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

TRAINING = {"models", "needs_train", "studies", "training"}
LIGHT = [name for name in MODULES if place(name) not in TRAINING and name != "__init__"]


def test_everything_but_training_imports_without_torch() -> None:
    imports = "".join(f"import hilum.{name}\n" for name in LIGHT)
    assert {
        "pipeline",
        "bulk.batch",
        "evaluation.evaluate",
        "calibration.calibrate",
        "data.cache",
        "cli",
    } <= set(LIGHT)
    python(f"{WITHOUT_TRAINING}\n{imports}")


def test_the_absence_is_real() -> None:
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        python(f"{WITHOUT_TRAINING}\nimport torch")


# What the extras bring, by the names it is imported by.
EXTRAS = {
    "alembic", "dicomanonymizer", "dicomweb_client", "fastapi", "fsspec", "h11", "highdicom",
    "huggingface_hub", "lightning_fabric", "matplotlib", "onnx", "onnxscript", "openvino", "optuna", "pg8000",
    "prometheus_client", "pyarrow", "python_multipart", "ray", "requests", "safetensors", "scipy", "sklearn",
    "sqlalchemy", "starlette", "timm", "torch", "torchvision", "urllib3", "uvicorn",
}  # fmt: skip


def test_without_extras_every_module_imports_or_tells_the_remedy() -> None:
    look = (ROOT / "tools" / "modules.py").read_text(encoding="utf-8").partition("annotations\n")[2]
    code = WITHOUT_TRAINING.replace("TRAINING = {", f"TRAINING = {EXTRAS} | {{", 1) + look
    told = dict(line.split(": ", 1) for line in python(code).splitlines())
    assert (
        told["hilum.training.losses"]
        == told["hilum.models"]
        == ("training needs: pip install 'hilum[train]' (in a clone: pip install '.[train]')")
    )
    assert not [name for name in LIGHT if "hilum[train]" in told.get(f"hilum.{name}", "")]


def test_a_public_name_stays_itself_whatever_is_imported() -> None:
    """A module of a public function's name would take its place in the package once it is imported."""
    assert not set(hilum.__all__) & {name.partition(".")[0] for name in MODULES}
    for _ in range(2):
        assert callable(hilum.read) and callable(hilum.load) and callable(hilum.push_to_hub)


def test_public_names_resolve_without_torch() -> None:
    names = sorted(set(hilum.__all__))
    python(f"{WITHOUT_TRAINING}\nimport hilum\nfor name in {names}: getattr(hilum, name)")


def test_training_says_what_it_needs_where_torch_is_missing() -> None:
    code = f"""{WITHOUT_TRAINING}
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
sys.argv = ["hilum", "train", "--data", "phantom:4", "--task", "segment"]
from hilum.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "hilum[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = python("import sys, hilum; print(*sys.modules)").split()
    assert "hilum" in loaded
    roots = {name.split(".")[0] for name in loaded}
    assert not roots & {"numpy", "pydantic", "cv2", "pydicom", "onnxruntime", "PIL", "typer", "torch"}


def test_films_are_analysed_without_the_data_sets() -> None:
    modules = (
        "pipeline, hilum.bulk.inputs, hilum.bulk.batch, hilum.report_files, hilum.dicom, hilum.serve.service"
    )
    loaded = python(f"import sys, hilum.{modules}; print(*sys.modules)").split()
    assert "hilum.bulk.inputs" in loaded
    assert not [name for name in loaded if name.startswith(("hilum.data", "hilum.config"))]


def test_the_command_lines_help_loads_nothing_heavy() -> None:
    code = """import sys
sys.argv = ["hilum", "--help"]
from hilum.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print(*sys.modules)"""
    roots = {name.split(".")[0] for name in python(code).splitlines()[-1].split()}
    assert "typer" in roots
    assert not roots & {"numpy", "pydantic", "cv2", "pydicom", "onnxruntime", "torch"}
