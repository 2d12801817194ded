"""Films through a pool of workers on a Ray cluster: `hilum predict --engine ray`.

Ray's actors and not Ray Data: there a block whose worker dies twice is given up whole, and which film it was
is not told. The driver alone writes parts, so that no worker that was given up can write one a second time.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.bulk.batch import UNFINISHED, Outcome, outcome, results
from hilum.bulk.inputs import Film, Portion
from hilum.bulk.parts import joined, part_name, renumber, write_part
from hilum.engines import cores
from hilum.errors import ConfigError, ReadError
from hilum.extras import needs
from hilum.pipeline import Pipeline
from hilum.report_files import write
from hilum.store import alone
from hilum.types import Tick

PARTS = "predictions.parquet"
_DEATHS = 2  # of workers: over a portion, before it is taken film by film; over a film, before it is given up
_VAIN = 4  # deaths for each worker, with nothing done in between, that are no film's fault
_DEADLY = 20  # deaths that a few films in a row may cause before they are called no film's fault either


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many workers there are, and what each is given."""

    workers: int = 0  # 0: as many as the cluster has room for
    threads: int = 1
    gpus: float = 0.0


class Worker:
    """One pipeline in a process of its own."""

    def __init__(self, make: Callable[[], Pipeline], out: Path, forms: Collection[str], threads: int) -> None:
        self._make, self._out, self._forms, self._threads = make, out, forms, threads

    def prepare(self) -> None:
        """Load the models; apart from the beginning, for what is raised here reaches the driver as it is."""
        import cv2

        cv2.setNumThreads(1)  # its films side by side are what keeps its processors busy
        self._pipeline = self._make()

    def analyse(self, films: Portion | Mapping[str, Film]) -> list[Outcome]:
        """Analyse the films of a portion, or films by name, and write their files."""
        named = films if isinstance(films, Mapping) else films.named()
        found = results(self._pipeline, named, self._out, self._forms, workers=self._threads)
        return [outcome(name, result, self._pipeline.labels) for name, result in found]


@dataclass(slots=True)
class _Job:
    """A portion that is still to do, and how often a worker died over it."""

    portion: Portion
    part: Path
    deaths: int = 0
    films: dict[str, Film] = field(default_factory=dict)  # all of its films, once they are taken one by one
    found: list[Outcome] = field(default_factory=list)  # of the first of them

    @property
    def next(self) -> Portion | dict[str, Film]:
        """What a worker is to analyse next: the whole portion, or one film of it by name."""
        return dict([list(self.films.items())[len(self.found)]]) if self.films else self.portion


def run(
    make: Callable[[], Pipeline],
    portions: Sequence[Portion],
    out: Path,
    forms: Collection[str],
    *,
    crew: Crew,
    tick: Tick,
    done: Callable[[Outcome], None],
) -> bool:
    """Analyse films as `hilum.bulk.batch.run` does, to the same rows, by workers that each call `make`.

    A portion's rows are a file in ``out/predictions.parquet``, its name telling what it was made of: one that
    is there is not made again. When all are, ``predictions.csv`` is made of them, `done` is told what came of
    each film, and parts of earlier runs are removed. A portion whose worker died is done by another; a film
    that ends every worker is an error. Returns whether every film was analysed. Raises HilumError.
    """
    needs("--engine ray", "ray", "ray", "pyarrow")
    beside = frozenset(forms) - {"csv"}
    pipeline = make()
    if not pipeline.labels:
        raise ConfigError("--engine ray: needs a classifier; outline films with the local engine")
    labels, made_of = pipeline.labels, "\n".join([pipeline.made_of, *sorted(beside)])
    folder = out / PARTS
    folder.mkdir(parents=True, exist_ok=True)
    statuses = set[str]()

    def told(one: Outcome) -> None:
        statuses.add(one.cells["status"])
        done(one)

    with alone(out, "writes its results"):
        (out / UNFINISHED).unlink(missing_ok=True)  # what a local run began, this one writes over
        names = (part_name(i, f"{made_of}\n{portion.mark}") for i, portion in enumerate(portions))
        jobs = [_Job(portion, folder / name) for portion, name in zip(portions, names, strict=True)]
        renumber(job.part for job in jobs)
        waiting = deque(job for job in jobs if not job.part.exists())
        if waiting:
            with _cluster(crew):
                team = _Team(crew, (make, out.absolute(), beside, crew.threads))
                for job in _done(waiting, team, len(jobs), tick, beside):
                    write_part(job.part, job.found, labels)
        parts = [job.part for job in jobs]
        joined(parts, out / "predictions.csv" if "csv" in forms else None, labels, told)
        for path in set(folder.glob("part-*.parquet")).difference(parts):
            path.unlink()
    return statuses <= {"ok"}


def _done(
    waiting: deque[_Job], team: _Team, total: int, tick: Tick, forms: Collection[str]
) -> Iterator[_Job]:
    """Jobs as they are done, with what was found; those that a worker died over wait again."""
    films = 0
    while waiting or team.at_work:
        team.hand_out(waiting)
        for job, found in team.back():
            if found is None:
                _mourn(job, team.out, forms)
            elif job.films:
                job.found, job.deaths = [*job.found, *found], 0
            else:
                job.found = found
            if len(job.found) == len(job.films) if job.films else found is not None:
                team.hand_out(waiting)  # so that nobody waits while the part is written
                yield job
                films += len(job.found)
            else:
                waiting.appendleft(job)
        tick(total - len(waiting) - team.at_work, total, f"{films} films{team.lack}")


def _mourn(job: _Job, out: Path, forms: Collection[str]) -> None:
    """A worker died over a job: it may be tried again whole, film by film, or without the film it is at."""
    job.deaths += 1
    if job.deaths < _DEATHS:
        return
    job.deaths = 0
    if not job.films:
        # Listed once: a shard on a network is slow to list, and may be shorter the next time.
        job.films = dict(job.portion.named())
        return
    name = list(job.films)[len(job.found)]
    why = f"ended the process that analysed it, {_DEATHS} times"
    error = ReadError(name, why, "check the film; if it looks sound, report this with the film's kind")
    with suppress(ConfigError):  # as of a name that leads out of the folder: its row tells of it
        write(name, error, out, forms)
    job.found.append(outcome(name, error, ()))


class _Team:
    """Workers on the cluster, and what each is at."""

    def __init__(self, crew: Crew, settings: tuple[Any, ...]) -> None:
        import ray

        self._actor = ray.remote(Worker).options(num_cpus=crew.threads, num_gpus=crew.gpus)
        self._most = crew.workers or _room(crew)
        self._settings, self._crew = settings, crew
        self._busy: dict[Any, tuple[Any, _Job | None]] = {}  # what will be answered -> worker, job if any
        self._idle: list[Any] = []
        self._vain = 0  # workers that died since the last one did something

    @property
    def out(self) -> Path:
        """Where films' own files go."""
        return Path(self._settings[1])

    @property
    def lack(self) -> str:
        """What to tell where no machine of the cluster has what a worker asks for; one may still come."""
        import ray

        asked = {"CPU": self._crew.threads, "GPU": self._crew.gpus}
        had = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(one.get(kind, 0) >= number for kind, number in asked.items()) for one in had):
            return ""
        most = {kind: max((one.get(kind, 0) for one in had), default=0) for kind in asked}
        return (
            f"; waiting: a worker asks for {asked['CPU']:g} processors and {asked['GPU']:g} GPUs, "
            f"a machine has at most {most['CPU']:g} and {most['GPU']:g}"
        )

    @property
    def at_work(self) -> int:
        """Jobs that workers are at."""
        return sum(job is not None for _, job in self._busy.values())

    def hand_out(self, waiting: deque[_Job]) -> None:
        """Give jobs to those who are idle, and hire while there is more to do."""
        while self._idle and waiting:
            worker, job = self._idle.pop(), waiting.popleft()
            self._busy[worker.analyse.remote(job.next)] = worker, job
        for _ in range(min(self._most - len(self._busy), len(waiting))):
            worker = self._actor.remote(*self._settings)
            self._busy[worker.prepare.remote()] = worker, None

    def back(self) -> Iterator[tuple[_Job, list[Outcome] | None]]:
        """Jobs that came back, with what was found, or None where the worker died; waits for one a while.

        Raises what a worker raised, and ConfigError where workers only die.
        """
        import ray

        for answer in ray.wait(list(self._busy), num_returns=1, timeout=5)[0]:
            worker, job = self._busy.pop(answer)
            found = None
            try:
                found = ray.get(answer)
                self._idle.append(worker)
                self._vain = 0 if job else self._vain
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            except ray.exceptions.RayError:  # it is gone, or cannot be reached
                ray.kill(worker)
                self._vain += 1
            if self._vain > max(_VAIN * self._most, _DEADLY):
                raise ConfigError(
                    f"--engine ray: {self._vain} workers ended one after another with nothing done; look "
                    "into Ray's logs for the cause, and give each worker more memory"
                )
            if job is not None:
                yield job, found


@contextmanager
def _cluster(crew: Crew) -> Iterator[None]:
    """The cluster that RAY_ADDRESS names, or else one of this machine alone, for as long as it is needed."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers of every cluster
    if not os.environ.get("RAY_ADDRESS") and "RAY_AUTH_MODE" not in os.environ:
        # Ray's ports hear every interface, and whoever reaches them may run what he likes, but for a token;
        # it is read when Ray is imported.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(**quiet)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(f"RAY_ADDRESS: no cluster there ({error}); start one with ray start") from None
    else:
        try:
            ray.init(
                "local",
                num_cpus=max(cores(), crew.threads),
                include_dashboard=False,
                object_store_memory=100_000_000,  # all that passes through it is rows
                **quiet,
            )
        except Exception as error:  # a bare one where its processes do not answer in time
            ray.shutdown()
            why = f"Ray could not be started here ({type(error).__name__})"
            raise ConfigError(
                f"--engine ray: {why}; the machine may be busy or short of memory: try again, or leave it out"
            ) from None
        if ray.cluster_resources().get("GPU", 0) < crew.gpus:
            ray.shutdown()
            raise ConfigError(f"--gpus {crew.gpus:g}: this machine has fewer; leave it out to use processors")
    try:
        yield
    finally:
        ray.shutdown()


def _room(crew: Crew) -> int:
    """How many workers the cluster has room for now."""
    import ray

    held = ray.cluster_resources()
    room = held.get("CPU", 0) // crew.threads
    return max(1, int(min(room, held.get("GPU", 0) // crew.gpus) if crew.gpus else room))
