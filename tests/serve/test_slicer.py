"""What 3D Slicer's MONAI Label plugin does, step by step, and label maps where the volume lies."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hilum.data.phantom import draw
from hilum.errors import ReadError
from hilum.pipeline import Pipeline
from hilum.serve.nifti import header_of, is_nifti, read_nifti, write_nifti

Film = Callable[..., bytes]


def nifti(grey: Any, code: int, *, order: str = "<", packed: bool = True, depth: int = 1) -> bytes:
    """A film as Slicer saves it: one slice, with a place in space."""
    header = bytearray(348)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, grey.shape[1], grey.shape[0], depth, 1, 1, 1, 1)
    struct.pack_into(f"{order}hh", header, 70, code, grey.itemsize * 8)
    struct.pack_into(f"{order}8f", header, 76, 1, 0.2, 0.3, 1, 0, 0, 0, 0)
    struct.pack_into(f"{order}f", header, 108, 352)
    struct.pack_into(f"{order}12f", header, 280, *range(12))
    header[344:348] = b"n+1\0"
    data = bytes(header) + bytes(4) + grey.astype(grey.dtype.newbyteorder(order)).tobytes() * depth
    return gzip.compress(data) if packed else data


GREY = draw(3, size=256).pixels


def parts(answer: Any) -> dict[str, Any]:
    """A form taken apart by its names."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}


def test_the_plugins_way_from_volume_to_outlines(client: Any, pipeline: Pipeline) -> None:
    info = client.get("/info/").json()
    ((name, model),) = info["models"].items()
    assert model["type"] == "segmentation" and model["labels"] == {
        "right_lung": 1,
        "left_lung": 2,
        "heart": 3,
    }
    film = nifti(GREY.astype(np.int16) * 16, 4)
    session = client.put(
        "/session/", files={"files": ("x.nii.gz", film)}, data={"client_id": "slicer"}
    ).json()
    session_id = session["session_id"]
    assert client.get(f"/session/{session_id}").status_code == 200
    fields = {"params": (None, json.dumps({"client_id": "slicer"}))}
    answer = client.post(f"/infer/{name}?image=Volume&session_id={session_id}", files=fields)
    assert answer.status_code == 200, answer.text
    found = parts(answer)
    assert found["image"].get_filename() == "label.nii.gz"
    params = json.loads(found["params"].get_content())
    assert params["label_names"] == model["labels"] and params["result"]["status"] == "ok"
    label = gzip.decompress(found["image"].get_content())
    assert struct.unpack_from("<12f", label, 280) == tuple(range(12))  # where the volume lies
    mask = np.frombuffer(label, np.uint8, GREY.size, 352).reshape(GREY.shape)
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    own = pipeline(GREY.astype(np.int16) * 16)
    assert own.anatomy is not None and np.array_equal(mask, own.anatomy.mask)
    assert client.delete(f"/session/{session_id}").status_code == 200
    assert client.get(f"/session/{session_id}").status_code == 404
    assert list((client.service.settings.data / "incoming").iterdir()) == []


def test_films_sent_with_the_request_and_single_outputs(client: Any, dicom: Film) -> None:
    file = {"file": ("x.dcm", dicom())}
    image = client.post("/infer/hilum-lungs?output=image", files=file)
    assert is_nifti(image.content)
    assert client.post("/infer/hilum-lungs?output=json", files=file).json()["result"]["prediction"]
    assert client.post("/infer/hilum-six", files=file).status_code == 404
    assert client.post(f"/infer/hilum-lungs?session_id={'0' * 32}").status_code == 404
    broken = client.post("/infer/hilum-lungs", files={"file": ("x.nii.gz", nifti(GREY, 2)[:900])})
    assert broken.status_code == 400


def test_a_rejected_film_says_why(client: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    answer = client.post("/infer/hilum-lungs", files={"file": ("x.nii.gz", nifti(noise, 2))})
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "rejected"


def test_sessions_push_the_oldest_out(client: Any) -> None:
    film = nifti(GREY, 2)
    ids = [
        client.put("/session/", files={"files": ("x.nii.gz", film)}).json()["session_id"] for _ in range(10)
    ]
    assert [client.get(f"/session/{id_}").status_code for id_ in ids] == [404] * 2 + [200] * 8
    assert len(list((client.service.settings.data / "incoming").iterdir())) == 8


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("kind", "code"), [("u1", 2), ("i2", 4), ("i4", 8), ("f4", 16), ("f8", 64), ("u2", 512)]
)
def test_every_kind_of_pixel_is_read(kind: str, code: int, packed: bool, order: str) -> None:
    film = nifti(GREY.astype(kind), code, order=order, packed=packed)
    assert is_nifti(film)
    grey, header = read_nifti(film, 10**6)
    assert np.array_equal(grey, GREY) and len(header) == 348
    assert grey.dtype in (np.uint8, np.uint16, np.int16)


@pytest.mark.parametrize(
    "film",
    [
        b"",
        b"\x1f\x8b",
        nifti(GREY, 2)[:400],
        nifti(GREY, 2, packed=False)[:5000],
        nifti(GREY, 128),
        nifti(GREY, 2, depth=2),
        nifti(np.full((300, 300), np.nan, np.float32), 16),
        nifti(np.full((300, 300), 1e9, np.float32), 16),
        gzip.compress(bytes(10**7)),
    ],
)
def test_what_is_no_single_plane_of_grey_is_refused(film: bytes) -> None:
    with pytest.raises(ReadError):
        read_nifti(film, 10**6)


def test_a_volume_larger_than_allowed_is_not_unpacked() -> None:
    film = nifti(np.zeros((4000, 4000), np.uint8), 2)
    with pytest.raises(ReadError, match="4000 x 4000 pixels"):
        read_nifti(film, 10**6)


def test_a_label_map_reads_back() -> None:
    mask = np.random.default_rng(1).integers(0, 4, (20, 30), np.uint8)
    grey, header = read_nifti(write_nifti(mask, header_of((20, 30), (0.2, 0.3))), 10**6)
    assert np.array_equal(grey, mask)
    assert struct.unpack_from("<3f", header, 80) == pytest.approx((0.3, 0.2, 1))
