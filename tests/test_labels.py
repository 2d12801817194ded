"""Free spellings of the labels."""

from __future__ import annotations

import pytest

from hilum.labels import FINDINGS, SIX, canonical


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
