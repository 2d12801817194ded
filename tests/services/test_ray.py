"""Workers on a Ray cluster of two nodes: the rows of a local run to the bit, whatever is killed meanwhile."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest

from hilum.bulk import batch
from hilum.bulk.batch import Outcome, outcome
from hilum.bulk.inputs import portions
from hilum.bulk.parts import read_part, write_part
from hilum.bulk.ray_predict import PARTS, Crew, run
from hilum.data.phantom import draw
from hilum.errors import CheckpointError, ConfigError, DataError, ReadError
from hilum.labels import SIX
from hilum.pipeline import Pipeline, load
from hilum.reporting.report import columns
from hilum.store import alone

MAIN = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"
FILMS, PART = 14, 4  # of 14 loose films, one in two shards, one that is no shard: 4 parts and 2
Make = Callable[[], Pipeline]


@pytest.fixture(scope="module")
def cluster(lacking: Callable[[str], None]) -> Iterator[Any]:
    """Two nodes with room for one worker each, and this process joined to them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_worker_niceness", "0")  # by default they give way to whatever else runs
    try:
        import pyarrow  # noqa: F401
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        lacking("Ray (extra ray)")
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=node)
    found.add_node(num_cpus=1, object_store_memory=80_000_000)
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, loose and in shards, of which some cannot be read or are refused."""
    folder = tmp_path_factory.mktemp("lake") / "films"
    folder.mkdir()

    def coded(seed: int) -> bytes:
        return cv2.imencode(".png", draw(seed, size=300).pixels)[1].tobytes()

    for i in range(FILMS):
        (folder / f"{i:02}.png").write_bytes(b"no film" if i == 5 else coded(i))
    upside_down = cv2.imencode(".png", draw(6, size=300).pixels[::-1])[1].tobytes()
    (folder / "06.png").write_bytes(upside_down)
    for name, seeds in (("a", (20, 21, 22)), ("b", (23,))):
        with tarfile.open(folder / f"z{name}.tar", "w") as tar:
            for seed in seeds:
                info = tarfile.TarInfo(f"{seed}.png")
                info.size = len(data := coded(seed))
                tar.addfile(info, io.BytesIO(data))
    (folder / "zc.tar").write_bytes(b"no shard")
    return folder


@pytest.fixture(scope="module")
def local(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Counter[str], Path]:
    """The local engine's table, what came of the films, and its folder."""
    out = tmp_path_factory.mktemp("local")
    named = {
        name: film for one in portions([str(lake)], out, films=PART) for name, film in one.named().items()
    }
    told: list[Outcome] = []
    assert not batch.run(load(threads=1), named, out, ["csv", "json"], done=told.append)
    counts = Counter(one.cells["status"] for one in told)
    assert counts["ok"] >= 8
    assert counts["rejected"] >= 1
    assert counts["error"] == 2
    return (out / "predictions.csv").read_bytes(), counts, out


class Told:
    """Hears of films and of progress."""

    def __init__(self) -> None:
        self.films: list[Outcome] = []
        self.steps: list[tuple[int, int, str]] = []

    def tick(self, done: int, total: int, text: str) -> None:
        self.steps.append((done, total, text))

    @property
    def counts(self) -> Counter[str]:
        return Counter(one.cells["status"] for one in self.films)


def analyse(make: Make, lake: Path, out: Path, *forms: str, workers: int = 2) -> Told:
    told = Told()
    given = portions([str(lake)], out, films=PART)
    fine = run(
        make,
        given,
        out,
        forms or ("csv",),
        crew=Crew(workers=workers),
        tick=told.tick,
        done=told.films.append,
    )
    assert fine is (set(told.counts) == {"ok"})
    assert len(list((out / PARTS).glob("part-*.parquet"))) == len(given)
    assert not list(out.rglob("*-draft"))
    return told


def deadly(film: str | tuple[str, ...], scar: Path | None = None, nodes: Path | None = None) -> Make:
    """Makes pipelines that a film kills as a crash would: always, or once where a `scar` is left."""

    def make() -> Pipeline:
        import ray

        pipeline = load(threads=1)
        innocent = pipeline.analyse

        def analyse(one: Any) -> Any:
            if nodes:
                (nodes / ray.get_runtime_context().get_node_id()).touch()
                late = time.monotonic() + 90
                while len(list(nodes.iterdir())) < 2 and time.monotonic() < late:
                    time.sleep(0.1)  # or the node that starts first might do all the work
            if one.origin.path.endswith(film) and not (scar and scar.exists()):
                if scar:
                    scar.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return innocent(one)

        pipeline.analyse = analyse  # type: ignore[method-assign]
        return pipeline

    return make


def test_a_part_gives_back_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    empty = dict.fromkeys(columns(SIX), "")
    scored = empty | {
        "file": "a.png",
        "status": "ok",
        "Edema": "1e-05",
        "Edema positive": "1",
        "quality": "0.1",
    }
    scored |= {"Atelectasis": "0.123457", "Atelectasis positive": "0", "No Finding": "1", "notes": "'=1; ü"}
    broken = outcome("caf\udce9.png", ReadError("caf\udce9.png", "empty file", "export it"), SIX)
    told = [Outcome(cells=scored, flags=("child", "mirrored"), format="PNG"), Outcome(cells=empty), broken]
    write_part(tmp_path / "part", told, SIX)
    found = list(read_part(tmp_path / "part", SIX))
    assert [one.cells for one in found] == [one.cells for one in told]
    assert found[0] == told[0]
    assert found[2].message == "error: caf\\udce9.png: empty file; export it"
    first = (tmp_path / "part").read_bytes()
    write_part(tmp_path / "part", told, SIX)
    assert (tmp_path / "part").read_bytes() == first
    (tmp_path / "part").write_bytes(first[:-9])
    with pytest.raises(DataError, match=r"damaged .*; remove it and run again"):
        list(read_part(tmp_path / "part", SIX))


def test_two_nodes_write_what_one_process_writes(
    cluster: Any, lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    import pyarrow.parquet

    table, counts, plain = local
    nodes, out = tmp_path / "nodes", tmp_path / "out"
    nodes.mkdir()
    told = analyse(deadly("none", nodes=nodes), lake, out, "csv", "json")
    assert (out / "predictions.csv").read_bytes() == table
    assert {path.name for path in nodes.iterdir()} == {node.node_id for node in cluster.list_all_nodes()}
    assert told.counts == counts
    assert told.steps[-1] == (7, 7, "19 films")
    names = sorted(path.relative_to(plain) for path in plain.rglob("*.json"))
    assert names == sorted(path.relative_to(out) for path in out.rglob("*.json"))
    for name in names:
        one, other = (json.loads((folder / name).read_text()) | {"created": ""} for folder in (plain, out))
        assert one == other
    whole = pyarrow.parquet.read_table(out / PARTS)
    assert whole.num_rows == 19
    assert whole.schema.field("Edema").type == "double"
    assert sum(whole.column("Edema positive").to_pylist().count(x) for x in (True, False)) == counts["ok"]


@pytest.mark.usefixtures("cluster")
def test_what_is_done_is_not_done_again_and_what_changed_is(lake: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for i in range(3):
        (films / f"{i}.png").write_bytes((lake / f"{i:02}.png").read_bytes())
    out, make = tmp_path / "out", partial(load, threads=1)
    analyse(make, films, out, workers=1)
    first = {path.name: path.stat().st_ino for path in (out / PARTS).iterdir()}
    again = analyse(deadly(".png"), films, out)  # no worker is asked, or it would die
    assert {path.name: path.stat().st_ino for path in (out / PARTS).iterdir()} == first
    assert len(again.films) == 3
    assert not again.steps
    (films / "1.png").write_bytes((lake / "05.png").read_bytes())
    assert analyse(make, films, out, workers=1).counts == {"ok": 2, "error": 1}
    assert not first.keys() & {path.name for path in (out / PARTS).iterdir()}


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_loses_nothing(
    lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    out, scar = tmp_path / "out", tmp_path / "scar"
    analyse(deadly("10.png", scar), lake, out)
    assert scar.exists()
    assert (out / "predictions.csv").read_bytes() == local[0]


@pytest.mark.usefixtures("cluster")
def test_a_film_that_kills_every_worker_is_an_error_and_stops_nothing(
    lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    told = analyse(deadly("10.png"), lake, tmp_path / "out", "csv", "json")
    lines, plain = (tmp_path / "out" / "predictions.csv").read_bytes().splitlines(), local[0].splitlines()
    assert [one for one in lines if not one.startswith(b"10.png")] == [
        one for one in plain if not one.startswith(b"10.png")
    ]
    assert lines[11].startswith(b"10.png,error,")
    assert b"ended the process that analysed it, 2 times" in lines[11]
    assert told.films[10].message.startswith("error: 10.png: ended the process")
    assert json.loads((tmp_path / "out" / "10.png.json").read_text())["status"] == "error"


@pytest.mark.usefixtures("cluster")
def test_deadly_films_in_a_row_are_errors_each(
    lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("01.png", "za.tar"):
        (films / name).write_bytes((lake / name).read_bytes())
    told = analyse(deadly(("20.png", "21.png", "22.png")), films, tmp_path / "out", workers=1)
    assert [one.cells["status"] for one in told.films] == ["ok", "error", "error", "error"]
    assert told.films[0].cells["Edema"] in local[0].decode()


@pytest.mark.usefixtures("cluster")
def test_parts_keep_their_rows_when_others_come_before_them(lake: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    (films / "zb.tar").write_bytes((lake / "zb.tar").read_bytes())
    out = tmp_path / "out"
    analyse(partial(load, threads=1), films, out, workers=1)
    (kept,) = (out / PARTS).iterdir()
    before = kept.stat().st_ino
    (films / "za.tar").write_bytes((lake / "za.tar").read_bytes())
    analyse(partial(load, threads=1), films, out, workers=1)
    moved = sorted((out / PARTS).iterdir())[1]
    assert (moved.stat().st_ino, moved.name[12:]) == (before, kept.name[12:])
    assert (kept.name[:11], moved.name[:11]) == ("part-000000", "part-000001")


@pytest.mark.usefixtures("cluster")
def test_a_second_driver_is_refused_and_the_first_one_s_parts_stay(lake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / PARTS).mkdir(parents=True)
    (first := out / PARTS / "part-000000-0123456789abcdef.parquet").touch()
    with alone(out, "writes its results"), pytest.raises(ConfigError, match="another process writes"):
        analyse(partial(load, threads=1), lake, out)
    assert list((out / PARTS).iterdir()) == [first]


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_no_machine_can_hold_is_told_while_it_is_waited_for(lake: Path, tmp_path: Path) -> None:
    class Enough(Exception):  # noqa: N818 - no error
        pass

    def tick(_done: int, _total: int, text: str) -> None:
        raise Enough(text)

    given = portions([str(lake)], tmp_path, films=PART)
    crew = Crew(workers=1, threads=16)
    with pytest.raises(Enough, match="asks for 16 processors and 0 GPUs, a machine has at most 1 and 0"):
        run(partial(load, threads=1), given, tmp_path, ("csv",), crew=crew, tick=tick, done=lambda _: None)


def test_a_killed_driver_goes_on_where_it_stood(
    cluster: Any, lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", MAIN, "predict", str(lake), "--out", str(out), "--as", "csv"]
    command += ["--engine", "ray", "--part", str(PART), "--workers", "1"]
    about = os.environ | {"RAY_ADDRESS": cluster.address}
    driver = subprocess.Popen(command, env=about, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(out.rglob("part-*"))) < 3 and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    kept = {path.name: path.stat().st_ino for path in (out / PARTS).glob("part-*")}
    assert 3 <= len(kept) < 7
    assert not (out / "predictions.csv").exists()
    again = subprocess.run(command, env=about, capture_output=True, text=True, check=False, timeout=100)
    assert again.returncode == 1  # some films could not be read
    counts = ", ".join(f"{local[1][status]} {status}" for status in ("ok", "rejected", "error"))
    assert again.stdout == f"19 films\t{counts}\t{out}\n"
    assert again.stderr.count("error: ") == 2
    now = {path.name: path.stat().st_ino for path in (out / PARTS).glob("part-*")}
    assert now.items() >= kept.items()
    assert (out / "predictions.csv").read_bytes() == local[0]


@pytest.mark.usefixtures("cluster")
def test_what_is_wrong_for_every_film_is_told_once(lake: Path, tmp_path: Path) -> None:
    driver = os.getpid()

    def elsewhere(fault: Callable[[], None]) -> Make:
        def make() -> Pipeline:
            if os.getpid() != driver:
                fault()
            return load(threads=1)

        return make

    def absent() -> None:
        raise CheckpointError("runs/mine: no such checkpoint")

    with pytest.raises(CheckpointError, match="runs/mine: no such checkpoint"):
        analyse(elsewhere(absent), lake, tmp_path / "absent")

    def crash() -> None:
        os._exit(1)

    with pytest.raises(ConfigError, match=r"workers ended one after another with nothing done"):
        analyse(elsewhere(crash), lake, tmp_path / "crash", workers=1)


ALONE = """
import os, subprocess, sys
from hilum.bulk.ray_predict import Crew, _cluster
with _cluster(Crew()):
    import ray
    join = f"import ray; ray.init({ray.get_runtime_context().gcs_address!r}); print('joined')"
    stranger = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    two = [
        subprocess.Popen([sys.executable, "-c", join], env=about, stdout=-1, stderr=-3, text=True)
        for about in (stranger, None)
    ]
    print("friend", two[1].communicate(timeout=60)[0])
    try:
        print("stranger", two[0].communicate(timeout=3)[0])
    except subprocess.TimeoutExpired:  # Ray asks again and again
        two[0].kill()
"""


@pytest.mark.usefixtures("cluster")
def test_the_cluster_of_one_machine_lets_no_stranger_in() -> None:
    kept = ("RAY_USAGE", "RAY_worker")
    about = {key: value for key, value in os.environ.items() if key[:4] != "RAY_" or key.startswith(kept)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], env=about, capture_output=True, text=True, check=True, timeout=100
    )
    assert "friend joined" in done.stdout
    assert "stranger joined" not in done.stdout


def test_a_lost_node_loses_nothing(
    cluster: Any, lake: Path, local: tuple[bytes, Counter[str], Path], tmp_path: Path
) -> None:
    """The last test of these: the cluster has one node after it."""
    lost, at_work = cluster.list_all_nodes()[-1], tmp_path / "at-work"
    its_id = lost.node_id

    def make() -> Pipeline:
        import ray

        pipeline = load(threads=1)
        if ray.get_runtime_context().get_node_id() == its_id:

            def analyse(_: Any) -> Any:
                at_work.touch()
                time.sleep(600)

            pipeline.analyse = analyse  # type: ignore[method-assign]
        return pipeline

    def tick(*_: Any) -> None:
        if at_work.exists() and lost in cluster.list_all_nodes():
            cluster.remove_node(lost, allow_graceful=False)

    out = tmp_path / "out"
    given = portions([str(lake)], out, films=PART)
    run(make, given, out, ("csv",), crew=Crew(workers=2), tick=tick, done=lambda _: None)
    assert lost not in cluster.list_all_nodes()
    assert (out / "predictions.csv").read_bytes() == local[0]
