"""Build dist/ and try it as a user would: twice the same bytes, sound metadata, a wheel that works by itself.

Each line names a check and what was found; the first failure ends it. Beside the packages lie SHA256SUMS and
hilum.cdx.json, the list of all that the light install brings (CycloneDX).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
MOST = 40 * 2**20  # bytes of the wheel
PINS = ["--no-require-hashes", "-c", str(ROOT / "constraints.txt"), "-c", str(ROOT / "requirements.lock")]

# What a user's own program looks like to a strict type checker.
PROGRAM = """
from pathlib import Path

import hilum


def probability(film: Path, label: str) -> float | None:
    report: hilum.Report = hilum.load()(film)
    report.save(film.with_suffix(".html"))
    prediction: hilum.Prediction | None = report.prediction
    return None if prediction is None else prediction[label].probability


def refused(film: bytes) -> str:
    try:
        hilum.read(film)
    except hilum.ReadError as error:
        return error.remedy
    return ""


reveal_type(hilum.read("a.png").pixels)
reveal_type(probability(Path("a.png"), "Edema"))
"""


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """What the command prints; it ends this program where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(out: Path) -> None:
    """Wheel and source of what is committed, built in a folder of its own."""
    moment = run("git", "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as folder:
        run("git", "checkout-index", "--all", f"--prefix={folder}/")
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
        run(*command, folder=Path(folder), SOURCE_DATE_EPOCH=moment)


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of an environment that holds the wheel, its dependencies, and nothing else."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *PINS, wheel)
    (where,) = folder.rglob("hilum-*.dist-info/direct_url.json")
    where.unlink()  # it names this machine's folder, and the list of parts would
    return python


def tried(wheel: Path) -> None:
    """The wheel in the light install: self test, imports, types, parts list."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = installed(wheel, folder / "light")
        print(run(folder / "light/bin/hilum", "selftest", folder=folder).splitlines()[-1])
        told = run(python, ROOT / "tools/modules.py", folder=folder).splitlines()
        print(f"every module imports, or tells its remedy as {len(told)} do")
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        checker = (
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            python,
            "--cache-dir",
            os.devnull,
        )
        types = run(*checker, "program.py", folder=folder)
        if "ndarray" not in types or "float | None" not in types:
            raise SystemExit(f"the types do not reach the user:\n{types}")
        print(types.splitlines()[-1] + " in a user's program, mypy --strict")
        parts = DIST / "hilum.cdx.json"
        run("cyclonedx-py", "environment", python, "--output-reproducible", "--of", "JSON", "-o", parts)
        print(f"{parts.name}: {len(json.loads(parts.read_bytes())['components'])} parts")


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as again:
        build(DIST)
        build(Path(again))
        if sums(DIST) != sums(Path(again)):
            raise SystemExit(f"two builds differ:\n{sums(DIST)}\n{sums(Path(again))}")
    made = sums(DIST)
    for name, digest in made.items():
        print(f"{digest}  {name}  {(DIST / name).stat().st_size / 2**20:.1f} MB, twice the same")
    (wheel,) = DIST.glob("*.whl")
    if wheel.stat().st_size > MOST:
        raise SystemExit(f"{wheel.name}: more than {MOST} bytes; ship less")
    names = ZipFile(wheel).namelist()
    for part in ("hilum/py.typed", "hilum/golden/golden.json", "hilum/weights/hilum-six/model.onnx"):
        if part not in names:
            raise SystemExit(f"{wheel.name}: lacks {part}")
    run(sys.executable, "-m", "twine", "check", "--strict", *(DIST / name for name in made))
    print("twine check: passed")
    tried(wheel)
    lines = [f"{digest}  {name}\n" for name, digest in sums(DIST).items()]
    (DIST / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
