"""Films through a pool of workers on a Ray cluster: `hilum predict --engine ray`.

It uses Ray's actors and not Ray Data, which gives up a whole block if its worker dies twice, and does not say
which film was the cause. Only the driver writes parts, so that no abandoned worker can write one again.
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
from hilum.bulk.inputs import Portion
from hilum.bulk.parts import joined, part_name, renumber, write_part
from hilum.engines import cores
from hilum.errors import ConfigError, ReadError
from hilum.extras import needs
from hilum.pipeline import Opener, Pipeline
from hilum.report_files import sweep, write
from hilum.store import alone
from hilum.types import Tick

PARTS = "predictions.parquet"
_DEATHS = (
    2  # of workers: on a portion, before its films are tried one by one; on a film, before it is given up
)
_VAIN = 4  # deaths per worker, with no result in between, above which the cause is not a film
_DEADLY = 20  # deaths in a row that a few deadly films may cause; the limit is never lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The number of workers, and the resources of each."""

    workers: int = 0  # 0: as many as fit into the cluster
    threads: int = 1
    gpus: float = 0.0


class Worker:
    """One pipeline in a separate process."""

    def __init__(self, make: Callable[[], Pipeline], out: Path, forms: Collection[str], threads: int) -> None:
        self._make, self._out, self._forms, self._threads = make, out, forms, threads

    def prepare(self) -> None:
        """Load the models; not in __init__, because only errors raised here reach the driver unchanged."""
        import cv2

        cv2.setNumThreads(1)  # its processors are busy with films side by side
        self._pipeline = self._make()

    def analyse(self, films: Portion | Mapping[str, Opener]) -> list[Outcome]:
        """Analyse the films of a portion, or films by name, and write their files."""
        named = films if isinstance(films, Mapping) else films.named()
        found = results(self._pipeline, named, self._out, self._forms, workers=self._threads)
        return [outcome(name, result, self._pipeline.labels) for name, result in found]


@dataclass(slots=True)
class _Job:
    """An unfinished portion, and how often a worker died on it."""

    portion: Portion
    part: Path
    deaths: int = 0
    films: dict[str, Opener] = field(default_factory=dict)  # all of its films, once they are tried one by one
    found: list[Outcome] = field(default_factory=list)  # outcomes of the first of them

    @property
    def next(self) -> Portion | dict[str, Opener]:
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
    """Analyse films as `hilum.bulk.batch.run` does, with the same rows, by workers that each call `make`.

    The rows of a portion are a file in ``out/predictions.parquet``. Its name holds a hash of its inputs; a
    file that exists is not made again. When all exist, they are joined into ``predictions.csv``, `done`
    receives each outcome, and parts of earlier runs are removed. If a worker dies, another one repeats its
    portion; a film that ends every worker is an error. Returns whether every film was analysed.
    Raises HilumError.
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
        sweep(out)
        (out / UNFINISHED).unlink(missing_ok=True)  # this run overwrites an unfinished local run
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
    """Finished jobs with their outcomes; a job whose worker died is queued again."""
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
                team.hand_out(waiting)  # so that no worker waits while the part is written
                yield job
                films += len(job.found)
            else:
                waiting.appendleft(job)
        tick(total - len(waiting) - team.at_work, total, f"{films} films{team.lack}")


def _mourn(job: _Job, out: Path, forms: Collection[str]) -> None:
    """A worker died: the job is repeated whole, then film by film, then without the deadly film."""
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
    with suppress(ConfigError):  # a name may lead out of the folder; its row has the error
        write(name, error, out, forms)
    job.found.append(outcome(name, error, ()))


class _Team:
    """The workers on the cluster, and the job of each."""

    def __init__(self, crew: Crew, settings: tuple[Any, ...]) -> None:
        import ray

        self._actor = ray.remote(Worker).options(num_cpus=crew.threads, num_gpus=crew.gpus)
        self._most = crew.workers or _room(crew)
        self._settings, self._crew = settings, crew
        self._busy: dict[Any, tuple[Any, _Job | None]] = {}  # pending result -> worker, job if any
        self._idle: list[Any] = []
        self._vain = 0  # workers that died since the last result

    @property
    def out(self) -> Path:
        """The folder of the films' files."""
        return Path(self._settings[1])

    @property
    def lack(self) -> str:
        """A message if no machine of the cluster has the resources of a worker; one may still join."""
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
        """Number of jobs that workers have."""
        return sum(job is not None for _, job in self._busy.values())

    def hand_out(self, waiting: deque[_Job]) -> None:
        """Give jobs to idle workers, and start workers while more jobs wait."""
        while self._idle and waiting:
            worker, job = self._idle.pop(), waiting.popleft()
            self._busy[worker.analyse.remote(job.next)] = worker, job
        for _ in range(min(self._most - len(self._busy), len(waiting))):
            worker = self._actor.remote(*self._settings)
            self._busy[worker.prepare.remote()] = worker, None

    def back(self) -> Iterator[tuple[_Job, list[Outcome] | None]]:
        """Jobs that came back, with outcomes, or None if the worker died; waits up to 5 seconds for one.

        Raises what a worker raised, and ConfigError if workers keep dying.
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
            except ray.exceptions.RayError:  # the worker is gone, or cannot be reached
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
    """Connect to the cluster at RAY_ADDRESS, or start one on this machine, for the duration of the block."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report every cluster to its makers
    if not os.environ.get("RAY_ADDRESS") and "RAY_AUTH_MODE" not in os.environ:
        # Ray's ports listen on every interface, and without a token anyone who reaches them may run any code.
        # The token is read when Ray is imported.
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
                object_store_memory=100_000_000,  # only rows pass through it
                **quiet,
            )
        except Exception as error:  # a plain Exception if its processes do not answer in time
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
    """How many workers fit into the cluster now."""
    import ray

    held = ray.cluster_resources()
    room = held.get("CPU", 0) // crew.threads
    return max(1, int(min(room, held.get("GPU", 0) // crew.gpus) if crew.gpus else room))
