"""The Open Inference Protocol: JSON and binary, and what must not get in."""

from __future__ import annotations

import base64
import json
import math
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hilum.pipeline import CLASSIFIER, GATE, SEGMENTER, Pipeline
from hilum.prepare import prepare
from hilum.reading.reader import read
from hilum.serve import api_tensors

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def films(pipeline: Pipeline, png: Callable[..., bytes]) -> Any:
    """Two films prepared for the segmenter."""
    preparation = pipeline.segmenter.card.preparation
    return np.stack([prepare(read(png(seed)).pixels, preparation) for seed in (3, 4)])


def ask(films: Any, **more: Any) -> dict[str, Any]:
    tensor = {"name": "films", "shape": list(films.shape), "datatype": "FP32", "data": films.ravel().tolist()}
    return {"id": "42", "inputs": [tensor], **more}


def test_the_server_and_its_models_describe_themselves(client: Any, pipeline: Pipeline) -> None:
    assert client.get("/v2").json()["name"] == "hilum"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    for name in (GATE, SEGMENTER, CLASSIFIER, "hilum"):
        about = client.get(f"/v2/models/{name}").json()
        assert about["name"] == name
        assert client.get(f"/v2/models/{name}/versions/{about['versions'][0]}").json() == about
        assert client.get(f"/v2/models/{name}/ready").status_code == 200
    about = client.get(f"/v2/models/{SEGMENTER}").json()
    side = pipeline.segmenter.card.preparation.size
    assert about["inputs"] == [{"name": "films", "datatype": "FP32", "shape": [-1, 1, side, side]}]
    assert about["outputs"][0]["name"] == "logits"
    for path in ("nothing", f"{SEGMENTER}/versions/99", "nothing/ready"):
        answer = client.get(f"/v2/models/{path}")
        assert answer.status_code == 404 and isinstance(answer.json()["error"], str)


def test_every_error_is_plain_text_as_the_protocol_has_it(serve: Callable[..., Any]) -> None:
    client = serve(tokens={"ward": "a token of the ward"})
    known = {"Authorization": "Bearer a token of the ward"}
    for method, path, headers, status in (
        ("GET", "/v2", {}, 401),
        ("GET", "/v2/health/live", {"Host": "elsewhere"}, 400),
        ("GET", "/v2/nothing", known, 404),
        ("PUT", "/v2/models/hilum/infer", known, 405),
    ):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status and isinstance(answer.json()["error"], str), path


def test_json_tensors_give_what_the_network_gives(client: Any, pipeline: Pipeline, films: Any) -> None:
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", json=ask(films))
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["id"], document["model_name"]) == ("42", SEGMENTER)
    (logits,) = [one for one in document["outputs"] if one["name"] == "logits"]
    own = pipeline.segmenter(films)["logits"]
    assert logits["shape"] == list(own.shape)
    assert np.allclose(np.reshape(logits["data"], own.shape), own, atol=1e-4)
    assert client.service.engine.waiting == 0


def test_binary_tensors_go_both_ways(client: Any, pipeline: Pipeline, films: Any) -> None:
    raw = films.astype("<f4").tobytes()
    tensor = {
        "name": "films",
        "shape": list(films.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
    answer = client.post(
        f"/v2/models/{SEGMENTER}/infer", content=head + raw, headers={LENGTH: str(len(head))}
    )
    assert answer.status_code == 200
    length = int(answer.headers[LENGTH])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer.content) - length
    values = np.frombuffer(answer.content[length:], "<f4").reshape(output["shape"])
    assert np.allclose(values, pipeline.segmenter(films)["logits"], atol=1e-4)


@pytest.mark.parametrize("binary", [False, True])
def test_a_whole_film_gives_its_result_document(
    client: Any, dicom: Callable[..., bytes], binary: bool
) -> None:
    film = dicom()
    if binary:
        raw = struct.pack("<I", len(film)) + film
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "film",
                        "shape": [1],
                        "datatype": "BYTES",
                        "parameters": {"binary_data_size": len(raw)},
                    }
                ],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        answer = client.post("/v2/models/hilum/infer", content=head + raw, headers={LENGTH: str(len(head))})
        packed = answer.content[int(answer.headers[LENGTH]) :]
        document = json.loads(packed[4 : 4 + struct.unpack_from("<I", packed)[0]])
    else:
        tensor = {
            "name": "film",
            "shape": [1],
            "datatype": "BYTES",
            "data": [base64.b64encode(film).decode()],
        }
        answer = client.post("/v2/models/hilum/infer", json={"inputs": [tensor]})
        document = json.loads(answer.json()["outputs"][0]["data"][0])
    assert document["status"] == "ok"
    assert client.get(f"/v1/results/{document['id']}").json() == document


def tensor(**changes: Any) -> bytes:
    one = {"name": "films", "shape": [1], "datatype": "FP32", "data": [1]} | changes
    return json.dumps({"inputs": [{key: value for key, value in one.items() if value is not None}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"inputs": 5}',
        b'{"inputs": []}',
        b"[" * 100_000,
        tensor(shape=[1, 1, 2, 2], data=[1, 2, 3, 4]),
        tensor(shape=[2]),
        tensor(shape=[-1]),
        tensor(shape=[99999999999, 99999999999], data=[]),
        tensor(datatype="FP64"),
        tensor(data=["a"]),
        tensor(data=None, parameters={"binary_data_size": 9e9}),
        tensor(data=None, parameters={"binary_data_size": -5}),
        tensor(name="film", datatype="BYTES", data=["AAAA"]),
        tensor().replace(b"[1]}", b"[" * 900 + b"]" * 900 + b"}"),
    ],
)
def test_malformed_requests_are_refused_in_the_protocols_own_words(client: Any, body: bytes) -> None:
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", content=body)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)
    assert client.service.engine.waiting == 0


@pytest.mark.parametrize("length", ["-1", "x", "999999"])
def test_a_wrong_length_of_the_header_is_refused(client: Any, length: str) -> None:
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", content=b'{"inputs": []}', headers={LENGTH: length})
    assert answer.status_code == 400


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("binary", [False, True])
def test_what_is_no_number_is_refused(client: Any, films: Any, value: float, binary: bool) -> None:
    bad = films.copy()
    bad[0, 0, 5, 5] = value
    document = ask(bad)
    if binary:
        (one,) = document["inputs"]
        del one["data"]
        one["parameters"] = {"binary_data_size": bad.nbytes}
    head = json.dumps(document).encode()
    content, headers = (head + bad.tobytes(), {LENGTH: str(len(head))}) if binary else (head, {})
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", content=content, headers=headers)
    assert answer.status_code == 400 and "finite" in answer.json()["error"]


def test_a_body_comes_only_where_there_is_a_place_for_it(
    client: Any, films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    body = api_tensors.body

    async def counted(*arguments: Any) -> bytes:
        held.append(client.service.engine.waiting)
        return await body(*arguments)

    monkeypatch.setattr(api_tensors, "body", counted)
    assert client.post(f"/v2/models/{SEGMENTER}/infer", json=ask(films)).status_code == 200
    assert held == [1] and client.service.engine.waiting == 0


def test_unknown_outputs_and_unreadable_films_are_refused(client: Any, films: Any) -> None:
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", json=ask(films, outputs=[{"name": "weights"}]))
    assert answer.status_code == 400 and "logits" in answer.json()["error"]
    tensor = {
        "name": "film",
        "shape": [1],
        "datatype": "BYTES",
        "data": [base64.b64encode(b"GIF89a").decode()],
    }
    answer = client.post("/v2/models/hilum/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400 and "DICOM, PNG" in answer.json()["error"]


@pytest.mark.parametrize(
    "shape", [[2**62] * 40_000, [1] * 9, [2**31], [0, 2]], ids=["long", "nine", "wide", "none"]
)
def test_a_shape_without_end_is_refused_before_it_is_reckoned_with(client: Any, shape: list[int]) -> None:
    began = time.monotonic()
    tensor = {"name": "films", "shape": shape, "datatype": "FP32", "data": [1.0]}
    answer = client.post(f"/v2/models/{SEGMENTER}/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400 and "a shape of more than 8 sides" in answer.json()["error"]
    assert time.monotonic() - began < 5
