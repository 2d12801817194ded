"""The notebooks do what they say: every cell runs, on few synthetic films and for one epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("hilum"))
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
QUICKER = {
    "train": {'samples("200")': 'samples("30")', "start=imagenet": "start=random", "epochs=10": "epochs=1"},
    "analyse": {"--count 8": "--count 3"},
}
MAKES = {
    "train": ("side-by-side.png", "runs/mine/checkpoint/card.json"),
    "analyse": ("arrays.png", "report.html", "report.json", "results/predictions.csv"),
}


def python(notebook: Path) -> str:
    """The notebook's code as one script: shell lines run, pip and pictures are left out."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = ["import subprocess"]
    for cell in cells:
        for line in "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else ():
            if line.startswith(("%pip", "from IPython", "Image(")):
                continue
            indent, shell, words = line.partition("!hilum ")
            if shell and not indent.strip():
                call = f"[{COMMAND!r}, *f'''{words}'''.split()]"
                line = f"{indent}subprocess.run({call}, check=True)"
            lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs(notebook: Path, tmp_path: Path) -> None:
    code = python(notebook)
    for slow, quick in QUICKER[notebook.stem].items():
        assert slow in code, f"the notebook no longer says {slow}"
        code = code.replace(slow, quick)
    command = [sys.executable, "-c", "import matplotlib; matplotlib.use('Agg')\n" + code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for made in MAKES[notebook.stem]:
        assert (tmp_path / made).stat().st_size > 500, made
