"""Who may come in: hosts, origins, tokens; and what every answer says to browsers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import ConfigError
from hilum.serve.settings import Settings

TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "localhost@evil",
        "[::2]",
        "127.0.0.2",
    ],
)
def test_names_that_are_not_ours_are_refused(client: Any, host: str) -> None:
    answer = client.get("/v1/results", headers={"Host": host})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:8000", "[::1]:8000"])
def test_our_own_names_are_welcome(client: Any, host: str) -> None:
    assert client.get("/v1/service", headers={"Host": host}).status_code == 200


def test_further_names_are_welcome_once_they_are_allowed(serve: Callable[..., Any]) -> None:
    client = serve(hosts=("hilum.example",))
    assert client.get("/v1/service", headers={"Host": "hilum.example"}).status_code == 200
    assert client.get("/v1/service", headers={"Host": "other.example"}).status_code == 400


def test_probes_may_call_the_service_by_any_name(client: Any) -> None:
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_change_and_ask_nothing(
    client: Any, headers: dict[str, str], png: Callable[..., bytes]
) -> None:
    before = client.get("/v1/results").json()["total"]
    for method, path in (
        ("POST", "/v1/predict"),
        ("POST", "/v1/jobs"),
        ("DELETE", f"/v1/results/{'0' * 32}"),
        ("DELETE", f"/v1/jobs/{'0' * 32}"),
        ("POST", "/infer/hilum-lungs"),
        ("PUT", "/session/"),
        ("POST", "/v2/models/hilum/infer"),
        ("GET", "/v1/results?search=Zwetschgenberg"),
    ):
        answer = client.request(method, path, content=png(), headers=headers | {"Content-Type": "image/png"})
        assert answer.status_code == 403 and "another origin" in answer.text, path
    for path in ("/", "/app.js", "/v1/service"):  # a link may lead to the page
        assert client.get(path, headers=headers).status_code == 200
    assert client.get("/v1/results").json()["total"] == before


def test_the_services_own_page_may_send_films(client: Any, png: Callable[..., bytes]) -> None:
    headers = {
        "Origin": "http://127.0.0.1:8000",
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "image/png",
    }
    answer = client.post("/v1/predict", content=png(), headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_without_the_token_nothing_of_patients_is_told(serve: Callable[..., Any]) -> None:
    client = serve(tokens={"ward": TOKEN})
    service = client.get("/v1/service").json()
    assert service["token_required"] is True
    for method, path in (
        ("GET", "/v1/results"),
        ("GET", "/V1/results"),
        ("GET", "//v1/results"),
        ("GET", "/v1/./results"),
        ("GET", "/metrics"),
        ("POST", "/v1/predict"),
        ("GET", "/v2/models/hilum"),
        ("GET", "/info/"),
        ("POST", "/healthz"),
        ("GET", "/no-such-page"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "given",
    [
        "",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer",
        "Bearer x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        "Bearer \xff",
    ],
)
def test_wrong_tokens_are_refused(serve: Callable[..., Any], given: str) -> None:
    client = serve(tokens={"ward": TOKEN})
    answer = client.get("/v1/results", headers=[(b"authorization", given.encode("latin-1"))])
    assert answer.status_code == 401


def test_each_token_is_known_by_its_name_in_the_audit_log(
    serve: Callable[..., Any], png: Callable[..., bytes]
) -> None:
    client = serve(tokens={"ward": TOKEN, "clinic": f"{TOKEN}-2"})
    for token in (TOKEN, f"{TOKEN}-2"):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
        assert client.post("/v1/predict", content=png(), headers=headers).status_code == 200
    log = (client.service.settings.data / "audit.jsonl").read_text()
    assert '"who":"ward"' in log and '"who":"clinic"' in log and TOKEN not in log


def test_every_answer_carries_the_headers_that_protect_browsers(client: Any) -> None:
    answers = [
        client.get("/v1/service"),
        client.get("/nothing"),
        client.get("/v1/results", headers={"Host": "evil"}),
        client.post("/v1/predict", content=b"", headers={"Origin": "http://evil"}),
        client.post("/v1/predict", content=b"GIF", headers={"Content-Type": "image/png"}),
        client.request("TRACE", "/v1/results"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 32
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "reason", "remedy"}


def test_a_request_cannot_name_itself_in_the_log(client: Any) -> None:
    assert client.get("/v1/service", headers={"X-Request-Id": "forged"}).headers["x-request-id"] != "forged"


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "::"},
        {"host": "192.168.0.5"},
        {"host": "::", "tokens": {"a": TOKEN}},
        {"tokens": {"a": "short"}},
        {"tokens": {"a": "schlüssel-der-lang-genug-ist"}},
    ],
)
def test_unsafe_settings_are_refused_with_a_remedy(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"--token-file|--allow-host|openssl"):
        Settings(data=tmp_path, **settings)


def test_others_are_served_with_a_token_and_a_name(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, host="0.0.0.0", hosts=("h.example",), tokens={"a": TOKEN})  # noqa: S104
    assert "h.example" in settings.allowed
    assert TOKEN not in repr(settings)
