"""Studies in, a data set out: what is kept, what is left out and why, and that nothing identifies anybody."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from hilum.data import dicom_copy, importing, open_data
from hilum.data.phantom import draw
from hilum.data.pseudonyms import key_of
from hilum.data.study_header import study_header
from hilum.errors import ConfigError, MissingExtraError, StorageError
from hilum.reading.reader import read
from hilum.store import alone
from hilum.types import Array

PLANTED = {
    "PatientName": "Zyxwold^Quirina",
    "PatientID": "MRN7731984",
    "PatientBirthDate": "19310203",
    "StudyDate": "20210817",
    "StudyTime": "114233",
    "AccessionNumber": "ACC5550173",
    "InstitutionName": "Saint Elswhere Hospital",
    "InstitutionAddress": "Vexley Lane 12",
    "ReferringPhysicianName": "Grubbles^Ottokar",
    "OperatorsName": "Fnord^Ines",
    "StationName": "STATIONQ9",
    "DeviceSerialNumber": "SN88812345",
    "PatientComments": "neighbour of Mr Plonkett",
    "StudyDescription": "Thorax for Dr Wimbleby",
    "StudyID": "ST445566",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.777001",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.777002",
}
PRIVATE = "PRIVCREATOR77", "privatesecret99"
NESTED = "Nestname^Oswin"
FOLDER = "zyxwold_quirina_ward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """A folder of studies, and where to put what is made of it."""

    films: Path
    out: Path
    key: Path


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    (tmp_path / FOLDER).mkdir()
    return Ward(films=tmp_path / FOLDER, out=tmp_path / "out", key=tmp_path / "secret.key")


def film(path: Path, pixels: Array | int = 1, bits: int = 12, **header: Any) -> Path:
    """A DICOM film of a phantom, or of given pixels, whose header is full of what must not get out."""
    grey = draw(pixels, size=256).pixels.astype(np.uint16) if isinstance(pixels, int) else pixels
    if isinstance(pixels, int) and bits > 8:
        grey = grey * (2 ** (bits - 8)) + np.arange(256, dtype=np.uint16) % 2 ** (bits - 8)
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = header.pop("SOPInstanceUID", f"1.2.826.0.1.3680043.8.498.555{zlib.crc32(path.name.encode())}")
    found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    found.SOPInstanceUID = uid
    found.Rows, found.Columns = grey.shape
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    wide = bits > 8
    found.BitsAllocated, found.BitsStored, found.HighBit = (16 if wide else 8), bits, bits - 1
    found.PixelRepresentation = 0
    found.PixelData = grey.astype("<u2" if wide else "u1").tobytes()
    about = {"Modality": "DX", "ViewPosition": "PA", "BodyPartExamined": "CHEST", "PatientSex": "F"}
    about |= {"PatientAge": "090Y", "Manufacturer": "Makers Inc", "PixelSpacing": [0.2, 0.25], **PLANTED}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in {**about, **header}.items():
            setattr(found, name, value)
        block = found.private_block(0x0011, PRIVATE[0], create=True)
        block.add_new(0x01, "LO", PRIVATE[1])
        item = Dataset()
        item.PatientName = item.ReferringPhysicianName = NESTED
        found.RequestAttributesSequence = [item]
        found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
        found.save_as(path, enforce_file_format=True)
    return path


def run(ward: Ward, **options: Any) -> dict[str, Any]:
    return importing.import_studies(
        [ward.films], ward.out, key_of(ward.key), importing.Options(**options), tick=None
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hilum(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.modules['torch'] = None; from hilum.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "data", "import", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def written(drawn: Array, text: str) -> Array:
    letters = np.zeros(drawn.shape, np.uint8)
    cv2.putText(letters, text, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    return np.maximum(drawn, letters.astype(np.uint16) * 16)


def test_nothing_that_identifies_gets_out(ward: Ward, tmp_path: Path) -> None:
    film(ward.films / "MRN7731984" / "zyxwold.dcm", 1)
    film(ward.films / "lateral.dcm", 2, ViewPosition="LL")
    film(ward.films / "odd.dcm", 3, Modality="PLONKETT", SOPInstanceUID="1.2.3.777003")
    film(ward.films / "words.dcm", written(np.full((256, 256), 50, np.uint16), "DOE JANE"), Modality="DX")
    film(ward.films / "view.dcm", 5, ViewPosition="QUIRINA", PatientSex="ZYXWOLD", ImageLaterality="MRN7")
    broken = film(ward.films / "broken.dcm", 4)
    broken.write_bytes(broken.read_bytes()[:3000])
    (ward.films / "Zyxwold letter.txt").write_text("Zyxwold")
    done = hilum(ward.films, "--out", ward.out, "--key", ward.key, "--keep-dicom")
    assert done.returncode == 1, done.stderr
    again = hilum(ward.films / "nobody zyxwold", "--out", tmp_path / "other", "--key", ward.key)
    assert again.returncode == 2
    assert again.stderr == "hilum: DICOM_DIR, number 1: no such file or folder; check the path\n"
    told = [done.stdout, done.stderr, again.stderr]
    secrets = [*PLANTED.values(), *PRIVATE, NESTED, FOLDER, "1.2.3.777003", ward.key.read_text().strip()]
    secrets += [part for name in ("PatientName", "OperatorsName") for part in PLANTED[name].split("^")]
    secrets += [
        "Plonkett",
        "777001",
        "8.498.555",
        "1931",
        "2021-08",
        "lateral.dcm",
        "words.dcm",
        "broken.dcm",
    ]
    outputs = [path for path in ward.out.rglob("*") if path.is_file()]
    assert {"films.csv", "left-out.csv", "import.json", ".journal.jsonl"} <= {p.name for p in outputs}
    assert (
        sum(path.suffix == ".dcm" for path in outputs) == sum(path.suffix == ".png" for path in outputs) == 1
    )
    everything = [("shown", "\n".join(told).encode())]
    everything += [(path.name, path.name.encode() + path.read_bytes()) for path in outputs]
    for where, content in everything:
        # Compressed pixels may spell four digits by chance.
        wanted = [one for one in secrets if len(one) > 5 or not where.endswith((".png", ".dcm"))]
        for secret in wanted:
            assert secret.lower().encode() not in content.lower(), f"{secret} in {where}"


def test_of_what_is_no_film_nothing_but_the_header_is_read(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(ward.films / "a.dcm", 3)
    film(ward.films / "ct.dcm", 4, Modality="CT")
    with (ward.films / "disc.iso").open("wb") as disc:
        disc.truncate(2**36)  # more than any memory
    whole: list[str] = []
    actual = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: whole.append(path.name) or actual(path))
    run(ward)
    assert {name for name in whole if name.endswith((".dcm", ".iso"))} == {"a.dcm"}


def test_the_data_set_opens_with_what_is_allowed(ward: Ward) -> None:
    film(ward.films / "a.dcm", 1, PatientAge="097Y", ImageLaterality="U", PatientPosition="HFS")
    film(ward.films / "b.dcm", 2, PatientAge="", PatientSex="M", ViewPosition="AP")
    film(ward.films / "c.dcm", 3, PatientAge="018M", PatientID="other", BitsStored=8, bits=8)
    found = run(ward)
    assert (found["films"], found["patients"], found["studies"]) == (3, 2, 1)
    first, second, third = open_data(f"csv:{ward.out / 'films.csv'}")  # in the order of their paths
    assert (first.age, first.sex, first.view) == (90, "F", "PA")
    assert (second.age, second.sex, second.view) == (90, "M", "AP")  # from birth to study
    assert third.age == 1 and first.patient == second.patient != third.patient
    assert not first.labels
    row = next(row for row in rows(ward.out / "films.csv") if row["sex"] == "F" and row["age"] == "90")
    assert (row["row_mm"], row["column_mm"], row["laterality"], row["position"]) == (
        "0.2000",
        "0.2500",
        "U",
        "HFS",
    )
    assert "manufacturer" not in row
    about = json.loads((ward.out / "import.json").read_text())
    assert about["films"] == 3 and about["options"]["size"] == 0


@pytest.mark.parametrize(
    ("bits", "header"),
    [
        (8, {}),
        (12, {}),
        (12, {"PhotometricInterpretation": "MONOCHROME1"}),
        (14, {"WindowCenter": 8191.5, "WindowWidth": 16383}),
    ],
)
def test_films_read_back_equal_and_none_of_their_levels_is_lost(
    ward: Ward, bits: int, header: dict[str, Any]
) -> None:
    path = film(ward.films / "a.dcm", 3, bits, **header)
    run(ward, keep_dicom=True)
    png = next((ward.out / "films").iterdir())
    stored = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
    whole = read(path).pixels
    assert stored.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert len(np.unique(stored)) == len(np.unique(whole))
    assert (
        np.abs(stored / np.iinfo(stored.dtype).max - whole).max() <= 0.5 / np.iinfo(stored.dtype).max + 1e-6
    )
    copy = next((ward.out / "dicom").iterdir())
    assert np.array_equal(read(copy).pixels, whole)
    assert np.abs(read(png).pixels - whole).max() < 1e-4


def test_the_same_key_gives_the_same_pseudonyms_and_another_others(ward: Ward, tmp_path: Path) -> None:
    film(ward.films / "a.dcm", 1)
    run(ward)
    for key, same in ((ward.key, True), (tmp_path / "other.key", False)):
        other = Ward(films=ward.films, out=tmp_path / f"out-{same}", key=key)
        run(other)
        for column in ("id", "patient", "study"):
            one, two = (rows(w.out / "films.csv")[0][column] for w in (ward, other))
            assert (one == two) == same
    assert ward.key.stat().st_mode & 0o777 == 0o600


def test_each_film_that_is_left_out_has_its_reason(ward: Ward) -> None:
    film(ward.films / "a.dcm", 1)
    film(ward.films / "b.dcm", 2, SOPInstanceUID=str(dcmread(ward.films / "a.dcm").SOPInstanceUID))
    film(ward.films / "c.dcm", 1)
    wrong: dict[str, dict[str, Any]] = {
        "lateral view": {"ViewPosition": "LL"},
        "lateral view, by its description": {"ViewPosition": "", "SeriesDescription": "W033 Chest lat."},
        "another view than AP or PA": {"ViewPosition": "LLO"},
        "modality CT": {"Modality": "CT"},
        "another modality": {"Modality": "NONSENSE"},
        "another body part": {"BodyPartExamined": "HAND"},
        "several frames": {"NumberOfFrames": "2"},
        "burnt-in words: the header says that words are burnt in": {"BurnedInAnnotation": "YES"},
        "burnt-in words: a secondary capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        "burnt-in words: digitised, scanned or taken from a screen": {"ConversionType": "DF"},
        "burnt-in words: a screenshot": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    }
    for number, header in enumerate(wrong.values()):
        film(ward.films / f"w{number}.dcm", 10 + number, **header)
    film(ward.films / "x1.dcm", written(draw(30).pixels.astype(np.uint16) * 16, "MILLER JANE"))
    turned = np.ascontiguousarray(np.rot90(draw(31).pixels)).astype(np.uint16) * 16
    film(ward.films / "x2.dcm", turned, ViewPosition="")
    film(ward.films / "x3.dcm", draw(32).pixels[:50, :50].astype(np.uint16))
    broken = film(ward.films / "x4.dcm", 33)
    broken.write_bytes(broken.read_bytes()[:4000])
    (ward.films / "x5.txt").write_text("not a film")
    found = run(ward)
    assert found["films"] == 1
    assert found["left_out"] == {
        **dict.fromkeys(wrong, 1),
        "the same object as another film": 1,
        "the same pixels as another film": 1,
        "burnt-in words: letters in the picture": 1,
        "not taken for a frontal chest film: turned": 1,
        "not taken for a frontal chest film: small": 1,
        importing.UNREADABLE: 1,
        "no DICOM file": 1,
    }
    assert len(rows(ward.out / "left-out.csv")) == sum(found["left_out"].values())


def test_a_film_whose_view_is_unsaid_is_kept_where_the_gate_takes_it(ward: Ward) -> None:
    film(ward.films / "a.dcm", 31, ViewPosition="", BodyPartExamined="")
    assert run(ward)["films"] == 1
    assert rows(ward.out / "films.csv")[0]["view"] == ""


def test_a_view_in_several_words_is_kept_as_the_one_it_states(ward: Ward) -> None:
    film(ward.films / "erect.dcm", 1, ViewPosition="AP ERECT")
    film(ward.films / "lateral.dcm", 2, ViewPosition="L LATERAL")
    film(ward.films / "side.dcm", 3, ViewPosition="LAT DECUB")
    run(ward)
    assert [row["view"] for row in rows(ward.out / "films.csv")] == ["AP"]
    lost = sorted(row["why"] for row in rows(ward.out / "left-out.csv"))
    assert lost == ["another view than AP or PA", "lateral view"]


def test_flagged_films_are_kept_where_it_is_asked_for_and_marked(ward: Ward) -> None:
    film(ward.films / "a.dcm", 1, BurnedInAnnotation="YES")
    film(ward.films / "b.dcm", 2)
    assert run(ward, keep_flagged=True, keep_dicom=True)["flagged"] == 1
    flags = {row["id"]: row["flagged"] for row in rows(ward.out / "films.csv")}
    assert sorted(flags.values()) == ["", "the header says that words are burnt in"]
    for name, flag in flags.items():
        assert dcmread(ward.out / "dicom" / f"{name}.dcm").get("BurnedInAnnotation", "") == "YES" * bool(flag)
    assert len(open_data(f"csv:{ward.out / 'films.csv'}")) == 2


def test_a_killed_import_goes_on_and_comes_to_the_same(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        film(ward.films / f"{number}.dcm", number)
    film(ward.films / "9.dcm", 1)
    whole = Ward(films=ward.films, out=tmp_path / "whole", key=ward.key)
    run(whole)

    def killed(done: int, total: int, what: str) -> None:
        del total, what
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.import_studies([ward.films], ward.out, key_of(ward.key), importing.Options(), tick=killed)
    journal = ward.out / ".journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # the third film's line is cut off
    opened = []
    true = importing._look_at
    monkeypatch.setattr(importing, "_look_at", lambda file: opened.append(file) or true(file))
    run(ward)
    assert len(opened) == 3
    for name in ("films.csv", "left-out.csv", "import.json"):
        assert (ward.out / name).read_bytes() == (whole.out / name).read_bytes()
    film(ward.films / "5.dcm", 50)
    opened.clear()
    assert run(ward)["films"] == 5 and len(opened) == 1


def test_what_could_not_be_read_is_tried_again(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    film(ward.films / "1.dcm", 1)
    film(ward.films / "2.dcm", 2)
    with monkeypatch.context() as patched:

        def away(path: Path) -> None:
            raise StorageError(str(path), "Input/output error", "see to the disk")

        patched.setattr(importing, "read", away)
        assert run(ward)["films"] == 0
    assert len(rows(ward.out / "left-out.csv")) == 2
    (ward.films / "2.dcm").write_bytes(b"DICM no more")
    assert run(ward)["films"] == 1
    assert [row["why"] for row in rows(ward.out / "left-out.csv")] == ["no DICOM file"]


def test_another_key_or_other_options_do_not_go_on(ward: Ward, tmp_path: Path) -> None:
    film(ward.films / "a.dcm", 1)
    run(ward)
    with pytest.raises(ConfigError, match="made with another options"):
        run(ward, size=128)
    with pytest.raises(ConfigError, match="made with another key"):
        run(Ward(films=ward.films, out=ward.out, key=tmp_path / "new.key"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something other"):
        run(Ward(films=ward.films, out=tmp_path / "full", key=ward.key))


def test_size_bounds_the_longest_side_and_scales_the_spacing(ward: Ward) -> None:
    film(ward.films / "a.dcm", draw(1).pixels[:192].astype(np.uint16) * 16)
    run(ward, size=128)
    row = rows(ward.out / "films.csv")[0]
    assert read(ward.out / row["path"]).pixels.shape == (96, 128)
    assert (row["row_mm"], row["column_mm"]) == ("0.4000", "0.5000")


def test_only_the_mapping_leads_back_and_only_its_owner_reads_it(ward: Ward, tmp_path: Path) -> None:
    path = film(ward.films / "a.dcm", 1)
    film(ward.films / "b.dcm", 2, ViewPosition="LL")
    mapping = tmp_path / "safe" / "mapping.csv"
    for _ in range(2):
        done = hilum(ward.films, "--out", ward.out, "--key", ward.key, "--mapping", mapping)
        assert done.returncode == 0, done.stderr
    assert mapping.stat().st_mode & 0o777 == 0o600
    kept, left = rows(mapping)
    row = rows(ward.out / "films.csv")[0]
    assert (kept["film"], kept["patient"]) == (row["id"], row["patient"])
    assert (kept["path"], kept["patient_id"]) == (str(path), "MRN7731984")
    assert left["file_id"] == rows(ward.out / "left-out.csv")[0]["id"]
    for option in ("--mapping", "--key"):
        refused = hilum(ward.films, "--out", ward.out, "--key", ward.key, option, ward.out / "in")
        assert refused.returncode == 2 and f"{option}: lies inside --out" in refused.stderr
    mine = tmp_path / "mine.csv"
    mine.write_text("a,b\n1,2\n")
    refused = hilum(ward.films, "--out", ward.out, "--key", ward.key, "--mapping", mine)
    assert refused.returncode == 2 and mine.read_text() == "a,b\n1,2\n"


def test_a_key_that_others_may_read_or_that_is_none_is_refused(ward: Ward) -> None:
    key_of(ward.key)
    ward.key.chmod(0o644)
    if os.name == "posix":
        with pytest.raises(ConfigError, match="chmod 600"):
            key_of(ward.key)
    ward.key.write_text("password")
    ward.key.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no key"):
        key_of(ward.key)


def test_the_dicom_copy_holds_the_image_and_pseudonyms_alone(ward: Ward) -> None:
    # Bit 12 above 12 stored ones is an overlay, as old films hide them.
    grey = draw(1).pixels.astype(np.uint16) * 16
    film(ward.films / "a.dcm", grey | 0x1000)
    film(ward.films / "b.dcm", 2)
    run(ward, keep_dicom=True)
    row, other = rows(ward.out / "films.csv")
    copy, second = (dcmread(ward.out / "dicom" / f"{one['id']}.dcm") for one in (row, other))
    assert copy.PatientID == row["patient"] and str(copy.PatientName) == row["patient"]
    assert (
        copy.PatientIdentityRemoved == "YES"
        and copy.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    )
    assert copy.StudyInstanceUID == second.StudyInstanceUID and copy.StudyInstanceUID.startswith("2.25.")
    assert copy.SOPInstanceUID != second.SOPInstanceUID
    assert all(one.is_valid for one in (copy.StudyInstanceUID, copy.SeriesInstanceUID, copy.SOPInstanceUID))
    assert not any(element.tag.is_private for element in copy) and copy.StudyDate == ""
    assert np.array_equal(copy.pixel_array, grey)


def test_the_dicom_copy_of_a_big_endian_film_shows_the_same(tmp_path: Path) -> None:
    big = Dataset()
    big.update(dcmread(film(tmp_path / "a.dcm", 1)))
    big.PixelData = np.frombuffer(big.PixelData, "<u2").astype(">u2").tobytes()
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.add_new("LUTData", "OW", (np.arange(4096) ** 2 // 256).astype(">u2").tobytes())
    big.VOILUTSequence = [table]
    big.file_meta = FileMetaDataset()
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    out = io.BytesIO()
    big.save_as(out, enforce_file_format=True)
    header = study_header(out)
    assert header is not None
    shown = read(out.getvalue()).pixels
    copy = dicom_copy.deidentified(
        out.getvalue(), key_of(tmp_path / "key"), header, film="a", patient="p", rendered=shown, flagged=False
    )
    np.testing.assert_array_equal(read(copy).pixels, shown)


def test_a_disk_that_fails_is_no_file_of_another_kind(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(ward.films / "a.dcm", 1)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 200:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output"):
        study_header(Failing(path.read_bytes()))
    with monkeypatch.context() as patch:
        patch.setattr(importing, "study_header", lambda _: study_header(Failing(path.read_bytes())))
        assert run(ward)["left_out"] == {f"{importing.UNREADABLE} (OSError)": 1}
    assert run(ward)["films"] == 1


def test_a_copy_without_the_library_names_the_remedy(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    film(ward.films / "a.dcm", 1)
    monkeypatch.setattr("hilum.data.dicom_copy.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hilum\[deid\]'"):
        run(ward, keep_dicom=True)
    assert not ward.out.exists()


def test_a_damaged_deflated_file_is_no_dicom_to_whoever_asks(tmp_path: Path) -> None:
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = "1.2.3"
    found.PatientID = "someone"
    found.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    data = (tmp_path / "whole.dcm").read_bytes()
    whole = study_header(io.BytesIO(data))
    assert whole is not None and whole.patient == "someone"
    assert study_header(io.BytesIO(data[:-12])) is None


def test_a_path_that_is_used_again_costs_no_film(ward: Ward, tmp_path: Path) -> None:
    """As of a disc drive: the next disc has the same names. The mapping keeps both, too."""
    mapping = tmp_path / "mapping.csv"
    for number, seed in enumerate((3, 4), 1):
        path = film(ward.films / "a.dcm", seed, SOPInstanceUID=f"1.2.3.{seed}", PatientID=f"P{seed}")
        path.rename(ward.films / "M\udcfcller.dcm")
        done = hilum(ward.films, "--out", ward.out, "--key", ward.key, "--mapping", mapping)
        assert done.returncode == 0, done.stderr
        table = rows(ward.out / "films.csv")
        assert len(table) == len({row["path"] for row in table}) == number
        assert all((ward.out / row["path"]).is_file() for row in table)
        assert [row["patient_id"] for row in rows(mapping)] == ["P3", "P4"][:number]
    assert json.loads((ward.out / "import.json").read_text())["films"] == 2


def test_a_link_to_a_folder_is_told_and_two_imports_keep_apart(ward: Ward, tmp_path: Path) -> None:
    film(ward.films / "a.dcm", 3)
    (tmp_path / "lake").mkdir()
    (ward.films / "lake").symlink_to(tmp_path / "lake")
    found = run(ward)
    assert (found["films"], found["left_out"]) == (1, {"link to a folder": 1})
    with alone(ward.out, "imports"), pytest.raises(ConfigError, match="another process imports there"):
        run(ward)
