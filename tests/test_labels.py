"""Free spellings of the labels."""

from __future__ import annotations

import math

import pytest

from hilum.labels import CONCLUDED, FINDINGS, SIX, UNCERTAIN, Policy, canonical, policies, settle


def test_the_six_are_five_findings_and_their_absence() -> None:
    assert (*FINDINGS, "No Finding") == SIX
    assert len(set(SIX)) == 6


@pytest.mark.parametrize("label", SIX)
@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.upper,
        str.lower,
        lambda label: label.replace(" ", "_"),
        lambda label: label.replace(" ", "-").lower(),
        lambda label: f"10. {label.upper()}",
        lambda label: f"3) {label}",
        lambda label: f"07_{label}",
        lambda label: f"2-{label}",
        lambda label: f"4{label}",
        lambda label: f"  {label.replace(' ', '   ')}  ",
    ],
)
def test_numbering_case_and_separators_are_ignored(label: str, spell: object) -> None:
    assert canonical(spell(label)) == label  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Effusion", "Pleural Effusion"),
        ("pulmonary_edema", "Edema"),
        ("OEDEMA", "Edema"),
        ("5. Pulmonary Oedema", "Edema"),
        ("enlarged-heart", "Cardiomegaly"),
        ("None", "No Finding"),
        ("NORMAL", "No Finding"),
        ("no findings", "No Finding"),
    ],
)
def test_synonyms_mean_one_of_the_six(name: str, label: str) -> None:
    assert canonical(name) == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Pleural_Thickening", "Pleural Thickening"),
        ("11. LUNG MASS", "Lung Mass"),
        ("Effusion left", "Effusion Left"),  # contains a synonym, but says more
        ("0", "0"),
        ("12", "12"),
        ("Ödem", "Ödem"),
    ],
)
def test_an_unknown_name_comes_back_in_title_case(name: str, label: str) -> None:
    assert canonical(name) == label
    assert canonical(label) == label


NAN = float("nan")
SAID = {"Edema": UNCERTAIN, "Cardiomegaly": 1.0, "Atelectasis": NAN, "No Finding": 0.0}


@pytest.mark.parametrize(
    ("policy", "edema"),
    [
        ("zero", 0.0),
        ("one", 1.0),
        (0.7, 0.7),
        ({"Edema": "one", "others": "zero"}, 1.0),
        ({"others": "zero"}, 0.0),
    ],
)
def test_an_uncertain_label_becomes_what_the_policy_says(policy: Policy, edema: float) -> None:
    settled = settle(SAID, "film", policy)
    assert settled["Edema"] == edema
    assert (settled["Cardiomegaly"], settled["No Finding"]) == (1, 0) and math.isnan(settled["Atelectasis"])


def test_an_uncertain_label_is_unknown_where_no_policy_names_it() -> None:
    assert all(math.isnan(settle(SAID, "film", policy)["Edema"]) for policy in ("ignore", {"Mass": "one"}))
    assert settle({"Edema": 1.0}, "film", "zero") == {"Edema": 1.0}


def test_a_range_is_drawn_evenly_and_the_same_at_every_call() -> None:
    drawn = [settle({"Edema": UNCERTAIN}, f"film{i}", (0.55, 0.85))["Edema"] for i in range(500)]
    assert drawn == [settle({"Edema": UNCERTAIN}, f"film{i}", (0.55, 0.85))["Edema"] for i in range(500)]
    assert 0.55 <= min(drawn) < 0.57 and 0.83 < max(drawn) <= 0.85
    assert sum(drawn) / 500 == pytest.approx(0.7, abs=0.02)


def test_unmentioned_labels_are_made_zero_and_uncertain_ones_are_not() -> None:
    settled = settle(SAID, "film", unmentioned="zero")
    assert settled["Atelectasis"] == 0 and math.isnan(settled["Edema"])
    assert "Consolidation" not in settled  # the source does not have it


@pytest.mark.parametrize(
    ("policy", "cardiomegaly", "none"),
    [
        ("ignore", 0.0, None),
        ("zero", 0.0, 1.0),
        ("zero", NAN, None),  # what is not mentioned may be there
        ("one", NAN, 0.0),
        (0.7, 0.0, 0.3),
        ({"No Finding": "one", "others": "one"}, 0.0, 0.0),
    ],
)
def test_a_concluded_no_finding_follows_from_the_settled_findings(
    policy: Policy, cardiomegaly: float, none: float | None
) -> None:
    said = {"No Finding": CONCLUDED, "Edema": UNCERTAIN, "Cardiomegaly": cardiomegaly, "Support Devices": 1.0}
    found = settle(said, "film", policy)["No Finding"]
    assert math.isnan(found) if none is None else found == pytest.approx(none)


def test_a_finding_of_one_excludes_no_finding_whatever_stands_before_it() -> None:
    """Most rows of CheXpert begin with findings that are not mentioned."""
    said = {"Enlarged Cardiomediastinum": NAN, "Edema": UNCERTAIN, "Fracture": NAN, "No Finding": CONCLUDED}
    assert settle(said, "film", "one")["No Finding"] == 0
    assert settle(said, "film", {"Edema": "one", "others": "zero"})["No Finding"] == 0
    assert math.isnan(settle(said, "film", "zero")["No Finding"])


def test_a_no_finding_that_is_stated_as_uncertain_follows_its_policy() -> None:
    assert settle({"No Finding": UNCERTAIN, "Edema": 0.0}, "film", "one")["No Finding"] == 1


@pytest.mark.parametrize(
    "given", ["maybe", 1.5, -1, True, [0.5], [0.8, 0.2], ["one", "zero"], None, {"Edema": 2}]
)
def test_a_policy_that_is_none_is_refused_with_those_that_are(given: object) -> None:
    with pytest.raises(ValueError, match="give 'ignore', 'zero', 'one', a probability, or two of them"):
        policies(given)


def test_a_policys_labels_get_their_one_spelling() -> None:
    assert policies({"effusion": [0.55, 0.85], "others": "one"}) == {
        "Pleural Effusion": (0.55, 0.85),
        "others": "one",
    }


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Pulmonary Atelectasis", "Atelectasis"),
        ("Airspace Opacity", "Lung Opacity"),
        ("Infiltrate", "Infiltration"),
        ("ILD", "Interstitial Lung Disease"),
        ("Other disease", "Other Diseases"),
        ("COVID-19", "COVID-19"),
        ("COPD", "COPD"),
    ],
)
def test_sources_own_names_have_one_spelling(name: str, label: str) -> None:
    assert canonical(name) == canonical(label) == label
