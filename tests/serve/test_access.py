"""Tokens, host names and other sites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from headstart.errors import SettingsError
from headstart.serve.access import COOKIE, TOKEN_VARIABLE, Access, allowed_hosts, choose_token

TOKEN = "correct-horse-battery-staple"
Open = Callable[..., TestClient]
Make = Callable[..., bytes]


def test_a_token_is_asked_for(open_client: Open, make_jpeg: Make) -> None:
    client = open_client(token=TOKEN)
    files = [("images", ("a.jpg", make_jpeg()))]
    refused = client.post("/predict", files=files)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    for header in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", TOKEN, f"Bearer {TOKEN[:-1]}é".encode("latin-1")):
        assert client.post("/predict", files=files, headers={"Authorization": header}).status_code == 401
    for path in ("/", "/metrics", "/report", "/openapi.json", "/nowhere"):
        assert client.get(path).status_code == 401
    for method in ("HEAD", "POST", "OPTIONS"):
        assert client.request(method, "/", headers={"Accept": "text/html"}).status_code == 401
    for path in ("/healthz", "/readyz", "/static/page.css"):
        assert client.get(path).status_code == 200
    allowed = client.post("/predict", files=files, headers={"Authorization": f"Bearer {TOKEN}"})
    assert allowed.json()["images"][0]["top"][0]["name"] == "cat"


def test_a_browser_signs_in(open_client: Open) -> None:
    client = open_client(token=TOKEN)
    html = {"Accept": "text/html"}
    page = client.get("/", headers=html)
    assert page.status_code == 401
    assert "Sign in" in page.text
    assert "rocket" not in page.text  # nothing of the classifier
    wrong = client.post("/login", data={"token": "wrong"}, headers=html)
    assert wrong.status_code == 401
    assert "This is not the token." in wrong.text
    right = client.post("/login", data={"token": TOKEN}, headers=html, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "What does this image show?" in client.get("/", headers=html).text
    client.cookies.set(COOKIE, TOKEN)  # the token itself is no cookie
    client.cookies.delete(COOKIE, domain="127.0.0.1")
    assert client.get("/report").status_code == 401


def test_the_address_that_is_printed_signs_in(open_client: Open) -> None:
    client = open_client(token=TOKEN)
    response = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert client.get("/report").status_code == 200
    client.cookies.clear()
    assert client.get("/", params={"token": "wrong"}, headers={"Accept": "text/html"}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "a@b:x"])
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000"])
def test_own_host_names(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, True),
        ({"Origin": "http://127.0.0.1:9000"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_other_sites_cannot_post(client: TestClient, make_jpeg: Make, headers: dict[str, str], allowed: bool) -> None:
    response = client.post("/predict", files=[("images", ("a.jpg", make_jpeg()))], headers=headers)
    assert response.status_code == (200 if allowed else 403)


def test_choosing_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert choose_token(None, needed=False) == (None, False)
    made, is_new = choose_token(None, needed=True)
    assert is_new
    assert made is not None
    assert len(made) >= 32
    assert made != choose_token(None, needed=True)[0]
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert choose_token(file, needed=False) == (TOKEN, False)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN[::-1])
    assert choose_token(None, needed=False) == (TOKEN[::-1], False)
    assert choose_token(file, needed=True) == (TOKEN, False)
    file.write_text("short")
    with pytest.raises(SettingsError, match="a token has at least 16"):
        choose_token(file, needed=True)
    with pytest.raises(SettingsError, match="cannot be read \\(no such file"):
        choose_token(tmp_path / "none", needed=True)


def test_hosts() -> None:
    assert allowed_hosts("0.0.0.0", ()) is None
    assert "photos.example" in (allowed_hosts("0.0.0.0", ("photos.example",)) or ())
    assert "photos.example" in (allowed_hosts("127.0.0.1", ("photos.example",)) or ())
    assert not Access().is_token("")
