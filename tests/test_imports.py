"""Imports run one way, prediction never needs torch, and `import hilum` costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hilum

PACKAGE = Path(hilum.__file__).parent
ROOT = Path(__file__).parents[1]

# The house, from the ground up: a module may import those of the floors below its own, never its neighbours.
# A new module must be given its place here.
FLOORS = """
    __init__
    age duplicates errors terminal views
    types
    serve.examples serve.metrics serve.migrations serve.migrations.versions serve.patience
    serve.migrations.versions.v0001_results
    extras labels store
    serve serve.audit serve.faults serve.nifti serve.settings serve.tables
    blank card cli_shared files folds grey needs_train page picture pointing scores data.phantom_body
    models.cnn models.ensemble models.evidence dicom.charset dicom.uids dicom.values
    data.ties dicom.codes dicom.contours dicom.source
    augment codestream config dicom_grey engines explain history hub intervals losses measure metrics
    models.unet prepare report slopes stages state dicom.common
    calibrate conformal dicom_bounds dicom_layout delong figures models.imagenet outline overlay
    progress quality read_image
    conclusions dicom_bits dicom.grey dicom.sc dicom.seg dicom.sr_groups evaluation_summary runtime
    corrections decide dicom.gsps dicom.sr
    gate plots verdicts data.phantom_film models.transfer models.vit read_dicom report_page
    segment notebook toml_files
    classify data.phantom_findings model_page models probe reader six_way
    call_figures dicom dicom_header hub_upload
    guarded guarded_child shards serve.films serve.patient
    report_files
    checkpoint compare label_figures pipeline data.masks data.phantom data.split data.sources
    serve.bodies serve.door serve.engine serve.recent serve.results serve.sessions
    serve.wire
    serve.arrays serve.guard serve.jobs serve.tensors
    serve.service
    serve.api_predict serve.runner
    serve.api_jobs serve.api_results serve.api_service serve.api_slicer serve.api_tensors
    serve.app
    serve.server
    pacs.credentials pacs.events pacs.faults pacs.records
    pacs.analysis pacs.door pacs.multipart pacs.place pacs.receipt
    pacs.archive pacs.table
    pacs.feeds
    pacs.watch
    pacs.worker
    pacs
    batch cost inputs selftest
    parts
    data.opened data.journal data.sources.folder data.sources.outlined data.sources.rows
    data.cache data.sources.covidqu data.sources.darwin data.sources.fourteen data.sources.header
    data.sources.jsrt
    data.sources.nih data.sources.padchest data.sources.readings data.sources.shards data.sources.table
    data.shard_writer
    ray_predict
    data.sources.brax data.sources.chexpert data.sources.dicom data.sources.lungmasks data.sources.mimic
    data.sources.montgomery data.sources.openi data.sources.rsna data.sources.shenzhen data.sources.vindr
    data.search
    data.likeness data.looks data.wrong
    data.pictures
    data data.check data.pseudo data.regions data.study_header data.burnt_in data.pseudonyms
    data.dicom_copy data.study_files blanked stress
    data.importing
    batches data.audit evaluate_outlines faithful reliability
    data.audit_words evaluate evaluate_pictures grids
    evaluation_page export recalibrate shortcuts teach
    data.traces plan shortcuts_page study_films
    data.audit_page
    finish frequencies starts
    run
    train cli_data cli_films cli_hub cli_selftest ensemble study_scores
    cli_calibrate cli_evaluate cli_export cli_leaks cli_predict study tune
    cli_audit cli_pacs cli_serve study_differences
    study_report
    cli_train
    cli
"""

# Resolved when called, so that the records at the bottom can write themselves.
UPWARDS = {("types", "explain"), ("types", "report_files"), ("types", "notebook")}


def modules() -> dict[str, Path]:
    """Name below the package -> file; a package goes by its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


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
    assert MODULES.keys() == FLOOR.keys(), "give the module its place in FLOORS"


def test_the_check_sees_imports_at_the_top_inside_functions_and_of_submodules() -> None:
    assert {"errors", "__init__", "runtime", "cli_train"} <= set(imported(MODULES["cli"]))
    assert {"config", "train"} <= set(imported(MODULES["cli_train"]))
    assert {"errors", "explain", "report_files", "notebook"} == set(
        imported(MODULES["types"])
    )  # the card is for type checking alone
    assert {"data.phantom", "data.sources.table"} <= set(imported(MODULES["data"]))


def packages(name: str) -> set[str]:
    """Those that a module lies in, which are imported before it."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name: str) -> None:
    for module in imported(MODULES[name]):
        for other in {module} | packages(module) - packages(name) - {name}:
            if (name, other) not in UPWARDS:
                assert FLOOR[other] < FLOOR[name], f"hilum.{name} imports hilum.{other}, which lies no lower"


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

TRAINING = {
    "models", "batches", "frequencies", "losses", "state", "stages", "plan", "starts", "finish", "run",
    "train", "checkpoint", "cost", "needs_train", "study", "study_films", "study_scores", "study_report",
    "study_differences", "tune", "ensemble", "teach",
}  # fmt: skip
LIGHT = [name for name in MODULES if name.split(".")[0] not in TRAINING and name != "__init__"]


def test_everything_but_training_imports_without_torch() -> None:
    imports = "".join(f"import hilum.{name}\n" for name in LIGHT)
    assert {"pipeline", "report", "batch", "evaluate", "calibrate", "data", "data.cache", "cli"} <= set(LIGHT)
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
        told["hilum.losses"]
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
    modules = "pipeline, hilum.inputs, hilum.batch, hilum.report_files, hilum.dicom, hilum.serve.service"
    loaded = python(f"import sys, hilum.{modules}; print(*sys.modules)").split()
    assert "hilum.inputs" in loaded
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
