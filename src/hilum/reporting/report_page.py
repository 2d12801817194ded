"""A report as one self-contained HTML page, read in twenty seconds: a summary first, then pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hilum.calibration.calibrate import logit
from hilum.explain import trust
from hilum.labels import NO_FINDING
from hilum.reporting.page import data_url, template
from hilum.reporting.picture import COLOURS, bar, picture, strongest
from hilum.reporting.report import ranked, to_json
from hilum.types import Heatmap, Prediction, Report, Score

_FILM = 768  # longest side of a film in the page, pixels
_END = 0.001  # probability at the left end of a bar; 1 minus it at the right end
_MARKS = (0.01, 0.1, 0.5, 0.9)


def html(report: Report) -> str:
    """One self-contained page: no script runs, and nothing is loaded from elsewhere."""
    classifier = report.cards.get("classify")
    return template("report.html").render(
        report=to_json(report),
        summary=summary(report),
        colours={name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in COLOURS.items()},
        views=list(_views(report)),
        marks=_MARKS,
        place=_place,
        doubt=_doubt,
        ranked=ranked(report),
        leans=bool(classifier and classifier.leaning),
        bar=data_url(bar(240, 12)),
        trust=_trust(report),
    )


def _trust(report: Report) -> str:
    """How far the maps can be trusted, as measured for the model that each map comes from."""
    general, second = report.cards.get("classify"), report.cards.get("specialist")
    theirs = set(second.labels) if second else set()
    own = {one.method for one in report.heatmaps if one.label not in theirs}
    others = {one.method for one in report.heatmaps if one.label in theirs}
    if not general or not second or not own or not others:
        return trust(own | others, second if others else general)
    return f"{general.name}: {trust(own, general)} {second.name}: {trust(others, second)}"


def _place(probability: float) -> float:
    """The place of a probability on a bar of length 100: by log-odds, so that rare labels can be compared."""
    inside = min(max(probability, _END), 1 - _END)
    return 50 - 50 * float(logit(inside) / logit(_END))


def summary(report: Report) -> str:
    """A summary of the report in one to three sentences."""
    if report.reasons:
        return " ".join(f"{_capital(reason.sentence)}." for reason in report.reasons)
    said = _calls(report.prediction, ranked(report)) if report.prediction else []
    if report.measurements is not None:
        ratio = report.measurements.cardiothoracic_ratio
        said.append(
            "No cardiothoracic ratio." if ratio is None else f"The heart is {ratio:.2f} as wide as the chest."
        )
    return " ".join(said)


def _calls(prediction: Prediction, ranked: Collection[str]) -> list[str]:
    """One sentence on the positive labels and their probabilities, one on labels left open."""
    scores = prediction.scores
    settled = [score for score in scores if score.positive and not score.abstained]
    findings = [score for score in settled if score.label != NO_FINDING]
    if settled and settled[0].label in ranked:
        said = [f"Called: {_listed([_sized(score) for score in settled])}."]
    elif findings:
        above = "Above its threshold" if len(findings) == 1 else "Each above its threshold"
        said = [f"{above}: {_listed([_sized(score) for score in findings])}."]
    elif settled:
        said = [f"No finding is called; the film is called {_sized(settled[0])}."]
    else:
        said = ["No label is called."]
    if unsettled := [score.label for score in scores if score.abstained]:
        said.append(f"Left open: {_listed(unsettled)}.")
    return said


def _sized(score: Score) -> str:
    """A label and its probability."""
    digits = 0 if 0.01 <= score.probability < 0.995 else 1
    return f"{score.label} ({100 * score.probability:.{digits}f} %)"


def _doubt(score: Mapping[str, Any]) -> str:
    """A short comment on the certainty of a call, from a score as in the JSON.

    Empty for a call that is left open. Otherwise the prediction set says whether the other answer is
    excluded, none is, both are, or only the answer that was called.
    """
    answers = score["plausible"]
    if score["abstained"] or not answers:
        return ""
    if answers == ("present" if score["positive"] else "absent"):
        return "absence excluded" if score["positive"] else "presence excluded"
    return {"either": "either possible", "neither": "unlike films it knows"}.get(answers, "in doubt")


def _listed(labels: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(labels[:-1]), labels[-1])))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _views(report: Report) -> Iterator[dict[str, Any]]:
    """The pictures of the film that the page shows one at a time: with outlines, alone, and with each map."""

    def drawn(shown: Report, heatmap: Heatmap | None) -> str:
        return data_url(picture(shown, heatmap, longest=_FILM))

    bare = replace(report, anatomy=None)
    if report.anatomy is not None:
        yield {"name": "Outlines", "film": drawn(report, None)}
    yield {"name": "Film", "film": drawn(bare, None)}
    for i, heatmap in enumerate(report.heatmaps):
        shown = {"name": heatmap.label, "film": drawn(report, heatmap)}
        yield {**shown, "map": i, "strongest": strongest(heatmap)}
