"""Size of the light install by package, and start-up times. Run: python benchmarks/install.py"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPEATS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        python = light_install(Path(folder) / "venv")
        sizes(Path(folder) / "venv")
        starts(python, Path(folder))


def light_install(place: Path) -> Path:
    """The python of a new virtual environment that has only ``pip install .``."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
    subprocess.run(
        [python, "-c", "import hilum.pipeline, sys; assert 'torch' not in sys.modules"], check=True
    )
    return python


def sizes(venv: Path) -> None:
    packages = next(venv.glob("lib/python*/site-packages"))
    measured = {
        entry.name: usage(entry) for entry in packages.iterdir() if not entry.name.endswith(".dist-info")
    }
    total = usage(venv)
    print("| part of the light install | MB | share |\n|---|---|---|")
    for name, size in sorted(measured.items(), key=lambda pair: -pair[1])[:12]:
        print(f"| {name} | {size / 1e6:.0f} | {size / total:.0%} |")
    print(f"| all of the virtual environment | {total / 1e6:.0f} | 100 % |")
    print(f"| torch | {usage(packages / 'torch') / 1e6:.0f} | should be 0 |\n")


def usage(path: Path) -> int:
    """Bytes of a file or of all files below a folder; links are not followed."""
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if entry.is_symlink() or entry.is_file())


def starts(python: Path, folder: Path) -> None:
    """Cold starts compared with an empty Python, interleaved so that noise affects all equally."""
    chest = phantom_film(folder)
    hilum = str(python.with_name("hilum"))
    commands = {
        "python -c pass": [str(python), "-c", "pass"],
        "python -c 'import numpy, cv2, onnxruntime'": [str(python), "-c", "import numpy, cv2, onnxruntime"],
        "import hilum": [str(python), "-c", "import hilum"],
        "hilum --help": [hilum, "--help"],
        "hilum predict, one PNG of 1024 x 1024": [hilum, "predict", str(chest), "--out", str(folder / "out")],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    base = statistics.median(times["python -c pass"])
    print("| process start to end | seconds, median | fastest | against python -c pass |\n|---|---|---|---|")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"| {name} | {middle:.2f} | {min(taken):.2f} | {middle / base:.0f} x |")


def phantom_film(folder: Path) -> Path:
    import cv2

    from hilum.data.phantom import draw

    path = folder / "phantom.png"
    cv2.imwrite(str(path), draw(3, size=1024).pixels)
    return path


if __name__ == "__main__":
    main()
