"""The whole inference path, read from top to bottom. Nothing here, or below it, imports torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeAlias, get_args

from hilum import __version__
from hilum.calibration import decide
from hilum.classify import Judgement, classify, explained
from hilum.engines import cores
from hilum.errors import CheckpointError, ConfigError, HilumError, ReadError
from hilum.explain import heatmap
from hilum.gate import admit, flag, implausible, is_gate, recognise, refuse, sure
from hilum.measure import measure, remarks
from hilum.reading.reader import read
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.types import (
    STRUCTURES,
    Anatomy,
    Array,
    Explain,
    Heatmap,
    Measurements,
    Prediction,
    Radiograph,
    Reason,
    Report,
    now,
)

Source: TypeAlias = str | Path | bytes | Array | Radiograph
Opener: TypeAlias = Callable[[], Radiograph]

GATE = "hilum-gate"
SEGMENTER = "hilum-lungs"
CLASSIFIER = "hilum-six"

HELD = 40_000_000  # pixels of all films held at a time; a single film may be larger


def held(workers: int) -> int:
    """`HELD`, scaled up for more than four workers, so that none waits for room."""
    return max(HELD, HELD // 4 * workers)


def load(
    *names: str | Path,
    specialist: str | Path | None = None,
    point: str = "",
    thresholds: Mapping[str, float] | None = None,
    threads: int = 0,
    explain: Explain = "evidence",
) -> Pipeline:
    """Load a pipeline of the shipped models, or of your own in their place, by name or folder.

    A `specialist` is a second classifier, used if the first abstains on one of the specialist's labels.
    Calls are made at the active operating point of the card, or at the one named by `point`, and at your own
    `thresholds`: label -> probability. `threads` is for each network; 0 means one for each core. `explain`
    chooses the heatmaps: by evidence if the model gives it, by occlusion, or none.
    Raises CheckpointError, and ConfigError for two models of one task, or a point or label that the card does
    not have.
    """
    runtimes: dict[str, Runtime] = {}
    for name in names:
        own = Runtime(find(name), threads=threads)
        if own.card.task == "pretrain":
            raise CheckpointError(
                f"{own.card.name}: was only pre-trained; train it on labels first: hilum train --from {name}"
            )
        if other := runtimes.get(own.card.task):
            raise ConfigError(
                f"{other.card.name} and {own.card.name}: both {own.card.task}; give one of them"
            )
        runtimes[own.card.task] = own
    for task, default in (("segment", SEGMENTER), ("classify", CLASSIFIER)):
        if task not in runtimes:
            runtimes[task] = Runtime(find(default), threads=threads)
    general = runtimes["classify"]
    general.card = decide.at_operating_point(general.card, point=point, thresholds=thresholds)
    second = None if specialist is None else Runtime(find(specialist), threads=threads)
    if second is not None:
        second.card = decide.specialist_card(second.card, point=point, thresholds=thresholds)
    gate = Runtime(find(GATE), threads=threads)
    return Pipeline(runtimes["segment"], general, second, gate=gate, explain=explain)


class Pipeline:
    """A segmenter and a classifier that form one function from a film to a Report.

    Without a classifier the films are only segmented and measured. A specialist is a second classifier, used
    if the first abstains on one of the specialist's labels. The gate is the network that recognises wrong
    pictures; without it only header, grey levels and outlines decide. `explain` chooses the heatmaps.
    """

    def __init__(
        self,
        segmenter: Runtime,
        classifier: Runtime | None,
        specialist: Runtime | None = None,
        *,
        gate: Runtime | None = None,
        explain: Explain = "evidence",
    ) -> None:
        for runtime, task in ((segmenter, "segment"), (classifier, "classify"), (specialist, "classify")):
            if runtime is not None and runtime.card.task != task:
                raise CheckpointError(f"{runtime.card.name}: made to {runtime.card.task}, not to {task}")
            if runtime is not None and is_gate(runtime.card):
                raise CheckpointError(
                    f"{runtime.card.name}: an input gate, not a classifier; leave it out, since "
                    "hilum-gate checks every film before the others"
                )
        for runtime in (classifier, specialist):
            if runtime is not None and runtime.card.outlines_sha256 not in ("", segmenter.card.sha256):
                raise CheckpointError(
                    f"{runtime.card.name}: learned from the outlines of another segmenter than "
                    f"{segmenter.card.name} {segmenter.card.version}; train it again, or bring that one"
                )
        if missing := set(STRUCTURES) - set(segmenter.card.labels):
            raise CheckpointError(f"{segmenter.card.name}: does not outline {min(missing)}; train it on all")
        if explain not in get_args(Explain):
            raise ConfigError(f"explain={explain!r}: choose from {', '.join(get_args(Explain))}")
        self.segmenter, self.classifier, self.specialist = segmenter, classifier, specialist
        self.gate = gate
        self.explain: Explain = explain
        if specialist and (strange := set(specialist.card.labels) - set(self.labels)):
            raise CheckpointError(
                f"{specialist.card.name}: scores {min(strange)}, which the classifier does not"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classifier's labels, in its order; empty without a classifier."""
        return self.classifier.card.labels if self.classifier else ()

    @property
    def made_of(self) -> str:
        """A text that differs for other models, settings or versions, and so for other results."""
        four = (self.segmenter, self.classifier, self.specialist, self.gate)
        cards = [f"{one.card.model_dump_json()} {one.card.build}" if one else "" for one in four]
        return "\n".join([__version__, self.explain, *cards])

    def __call__(self, source: Source) -> Report:
        """Analyse one film: a path, bytes, a NumPy array or a Radiograph. Raises ReadError."""
        return self.analyse(read(source))

    def analyse(self, film: Radiograph) -> Report:
        """Analyse a film that has been read."""
        kinds: dict[str, float] = {}
        anatomy = measurements = judged = None
        doubts: tuple[Reason, ...] = ()
        reasons = admit(film)
        if not reasons and self.gate is not None:
            kinds = recognise(self.gate, film)
            reasons = refuse(kinds)
        if not reasons:
            anatomy = segment(self.segmenter, film.pixels)
            measurements = measure(anatomy, film.spacing)
            doubts = implausible(anatomy)
            reasons = () if sure(kinds) else doubts
            if not reasons:
                judged = self._classify(film, anatomy)
        flags = flag(film, kinds, measurements) + (() if reasons else doubts)
        return self._report(film, reasons, flags, anatomy, measurements, judged)

    def stream(
        self, sources: Iterable[Source | Opener], *, workers: int = 0
    ) -> Iterator[Report | HilumError]:
        """Analyse any number of films in order; a film that cannot be analysed gives its error.

        A source that is a function is called in the analysing thread; it returns a film or raises a
        HilumError. `workers` films are analysed at a time, 0: as many as there are cores; this is fastest
        with one thread per network (`load(threads=1)`). Few more films are held in memory, and fewer if they
        are large.
        """
        sources, many = iter(sources), workers or cores()
        room = 2  # until the size of the films is known
        with ThreadPoolExecutor(many) as pool:
            ahead: deque[Future[Report | HilumError]] = deque()
            while True:
                more = islice(sources, max(0, room - len(ahead)))
                ahead.extend(pool.submit(self._attempt, source) for source in more)
                if not ahead:
                    return
                result = ahead.popleft().result()
                if isinstance(result, Report):
                    room = max(1, min(2 * many, held(many) // result.radiograph.pixels.size))
                yield result
                del result

    def _attempt(self, source: Source | Opener) -> Report | HilumError:
        try:
            film = source() if callable(source) else read(source)
        except HilumError as error:
            return error
        except Exception as error:  # each kind of shard and store can fail in its own way
            name = str(source) if isinstance(source, str | Path) else "a film"
            return ReadError(name, f"could not be opened ({type(error).__name__})", "fetch it again")
        return self.analyse_apart(film)

    def analyse_apart(self, film: Radiograph) -> Report | HilumError:
        """A film's report, or an error if something unexpected fails: one film must not stop the others."""
        try:
            return self.analyse(film)
        except Exception as error:  # a batch must go on after any file
            reason = f"could not be analysed ({type(error).__name__})"
            remedy = "check the film; if it looks sound, report this with the film's kind"
            return ReadError(film.origin.path, reason, remedy)

    def _classify(self, film: Radiograph, anatomy: Anatomy) -> tuple[Prediction, tuple[Heatmap, ...]] | None:
        if self.classifier is None:
            return None
        found = classify(self.classifier, self.specialist, film, anatomy, explain=self.explain)
        return found.prediction, _heatmaps(found, anatomy)

    def _report(
        self,
        film: Radiograph,
        reasons: tuple[Reason, ...],
        flags: tuple[Reason, ...],
        anatomy: Anatomy | None,
        measurements: Measurements | None,
        judged: tuple[Prediction, tuple[Heatmap, ...]] | None,
    ) -> Report:
        cards = {"segment": self.segmenter.card}
        if self.gate:
            cards["gate"] = self.gate.card
        if self.classifier:
            cards["classify"] = self.classifier.card
        if self.specialist and judged and judged[0].stage == "specialist":
            cards["specialist"] = self.specialist.card
        return Report(
            status="rejected" if reasons else "ok",
            reasons=reasons,
            flags=flags,
            radiograph=film,
            anatomy=anatomy,
            measurements=measurements,
            prediction=judged[0] if judged else None,
            heatmaps=judged[1] if judged else (),
            cards=cards,
            notes=(
                *(remarks(measurements, anatomy, film) if measurements and anatomy else ()),
                *(decide.remarks(judged[0]) if judged else ()),
            ),
            created=now(),
        )


def _heatmaps(judgement: Judgement, anatomy: Anatomy) -> tuple[Heatmap, ...]:
    """The evidence for the labels that are worth a heatmap, over the film's own pixels."""
    shown = {label: judgement.evidence.get(label) for label in explained(judgement.prediction)}
    return tuple(
        heatmap(
            one.map, label=label, anatomy=anatomy, baseline=one.baseline, part=one.part, method=one.method
        )
        for label, one in shown.items()
        if one is not None
    )
