"""The routes in this process: images, labels, classes, and what hostile requests get."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from headstart.studio.context import Studio

Open = Callable[..., TestClient]
Make = Callable[..., bytes]


def form(contents: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (name, content)) for name, content in contents.items()]


def problem(response: Any) -> tuple[int, str]:
    """The status and the sentence of a refusal."""
    assert response.headers["content-type"] == "application/problem+json"
    read = response.json()
    assert read["status"] == response.status_code
    return response.status_code, read["detail"]


@pytest.fixture
def filled(client: TestClient, make_jpeg: Make) -> TestClient:
    """Four images and the classes cat (1) and cup (2)."""
    contents = {f"{name}/{seed}.jpg": make_jpeg(name, seed) for name in ("cat", "cup") for seed in range(2)}
    client.post("/api/images", files=form(contents)).raise_for_status()
    for name in ("cat", "cup"):
        client.post("/api/classes", json={"name": name}).raise_for_status()
    return client


def test_uploads_become_images(client: TestClient, make_jpeg: Make) -> None:
    files = {
        "p/cat/1.jpg": make_jpeg("cat", 1),
        "p/cup/1.jpg": make_jpeg("cup", 1),
        "broken.jpg": b"\xff\xd8\xff",
        "a.txt": b"",
    }
    answer = client.post("/api/images?labels=subfolders", files=form(files)).json()
    assert (answer["added"], answer["labeled"], answer["ignored"]) == (3, 2, 1)
    assert answer["classes_added"] == ["cat", "cup"]
    assert [each["name"] for each in answer["problems"]] == ["broken.jpg"]
    again = client.post("/api/images", files=form({"x.jpg": make_jpeg("cat", 1)})).json()
    assert again["duplicates"] == [{"name": "x.jpg", "id": 1, "of": "p/cat/1.jpg"}]
    page = client.get("/api/images").json()
    assert page["total"] == 3
    assert [each["class"] for each in page["images"]] == [1, 2, None]
    state = client.get("/api/project").json()
    assert state["counts"] == {"images": 3, "labeled": 2, "unlabeled": 0, "problems": 1}
    assert state["classes"] == [{"id": 1, "name": "cat", "count": 1}, {"id": 2, "name": "cup", "count": 1}]
    assert state["revision"] == page["revision"] == answer["revision"]


def test_a_zip_archive_is_unpacked(client: TestClient, make_jpeg: Make) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.jpg", make_jpeg("cat", 1))
    answer = client.post("/api/images?labels=subfolders", files=form({"photos.zip": buffer.getvalue()})).json()
    assert (answer["added"], answer["classes_added"]) == (1, ["cat"])


def test_a_table_labels_images_by_their_names(filled: TestClient) -> None:
    filled.post("/api/labels", json={"images": [2], "class": 2}).raise_for_status()
    table = b"file,animal\ncat/0.jpg,cat\ncat/1.jpg,cat\ncup/0.jpg,mug\nnone.jpg,cat\n"
    answer = filled.post("/api/labels/table", files={"table": ("my labels.csv", table)}).json()
    assert (answer["labeled"], answer["kept"], answer["unknown"], answer["unknown_names"]) == (2, 1, 1, ["none.jpg"])
    assert (answer["classes_added"], answer["columns"]) == (["mug"], {"id": "file", "label": "animal"})
    assert [each["class"] for each in filled.get("/api/images").json()["images"]] == [1, 2, 3, None]
    assert filled.post("/api/undo").json()["counts"]["labeled"] == 1
    refused = filled.post("/api/labels/table", files={"table": ("labels.csv", b"file,animal\n")})
    assert problem(refused) == (422, "labels.csv has no rows below its header")
    two = [("table", ("a.csv", b"")), ("table", ("b.csv", b""))]
    assert problem(filled.post("/api/labels/table", files=two)) == (422, "the form has more than one table")
    text = filled.post("/api/labels/table", files={"table": ("labels.txt", b"")})
    assert problem(text) == (422, "labels.txt: a table of labels ends in .csv, .tsv, .jsonl, .parquet")


def test_labels_by_class_and_back(filled: TestClient) -> None:
    answer = filled.post("/api/labels", json={"images": [1, 2], "class": 1}).json()
    assert answer["counts"] == {"images": 4, "labeled": 2, "unlabeled": 2, "problems": 0}
    assert [each["count"] for each in answer["classes"]] == [2, 0]
    assert [each["id"] for each in filled.get("/api/images?show=unlabeled").json()["images"]] == [3, 4]
    assert [each["id"] for each in filled.get("/api/images?show=class:1&order=name").json()["images"]] == [1, 2]
    assert filled.post("/api/labels", json={"images": [1], "class": None}).json()["counts"]["labeled"] == 1
    undone = filled.post("/api/undo").json()
    assert (undone["kind"], undone["text"]) == ("undo", "undid: removed the label of 1 image")
    assert filled.post("/api/redo").json()["kind"] == "redo"
    assert problem(filled.post("/api/redo")) == (409, "there is nothing to redo")


def test_accepting_and_rejecting_suggestions(filled: TestClient) -> None:
    filled.post("/api/accept", json={"labels": {"1": 1, "2": 2}}).raise_for_status()
    filled.post("/api/reject", json={"labels": {"3": 1}}).raise_for_status()
    rows = filled.get("/api/images?ids=2,1").json()["images"]
    assert [(each["id"], each["class"], each["source"]) for each in rows] == [
        (2, 2, "suggestion"),
        (1, 1, "suggestion"),
    ]
    details = filled.get("/api/images/1").json()
    assert [(each["kind"], each["before"], each["after"]) for each in details["history"]] == [("accept", None, 1)]


def test_classes_are_renamed_merged_and_removed(filled: TestClient) -> None:
    filled.post("/api/labels", json={"images": [1, 2], "class": 1}).raise_for_status()
    assert problem(filled.post("/api/classes", json={"name": " CAT"}))[0] == 409
    assert problem(filled.patch("/api/classes/2", json={"name": "Cat"}))[0] == 409
    renamed = filled.patch("/api/classes/2", json={"name": "mug"}).json()
    assert [each["name"] for each in renamed["classes"]] == ["cat", "mug"]
    merged = filled.post("/api/classes/1/merge", json={"into": 2}).json()
    assert merged["classes"] == [{"id": 2, "name": "mug", "count": 2}]
    assert filled.delete("/api/classes/2").json()["classes"] == []
    assert problem(filled.delete("/api/classes/2")) == (404, "the project has no class 2")
    assert [each["kind"] for each in filled.get("/api/history?limit=3").json()["changes"]] == [
        "remove class",
        "merge classes",
        "rename class",
    ]


def test_thumbnails_are_kept_by_content_and_cached_for_ever(filled: TestClient) -> None:
    row = filled.get("/api/images?limit=1").json()["images"][0]
    address = f"/api/images/1/thumbnail?v={row['hash']}"
    answer = filled.get(address)
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).size == (120, 120)
    assert filled.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert "immutable" not in filled.get("/api/images/1/thumbnail?v=other").headers["cache-control"]


def test_a_large_image_has_a_small_thumbnail(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(buffer, "PNG")
    client.post("/api/images", files=form({"1.png": buffer.getvalue()})).raise_for_status()
    thumbnail = Image.open(io.BytesIO(client.get("/api/images/1/thumbnail").content))
    assert thumbnail.size == (256, 128)


def test_files_are_sent_by_what_they_are_not_by_their_name(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(buffer, "TIFF")
    client.post("/api/images", files=form({"drawing.svg": buffer.getvalue()})).raise_for_status()
    answer = client.get("/api/images/1/file")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    client.post("/api/images", files=form({"evil.svg": svg})).raise_for_status()
    assert problem(client.get("/api/images/2/file"))[0] == 404
    assert problem(client.get("/api/images/2/thumbnail"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/images/99", None, 404),
        ("GET", "/api/images/0", None, 422),
        ("GET", "/api/images/99999999999999999999", None, 422),
        ("GET", "/api/images?show=everything", None, 422),
        ("GET", "/api/images?show=class:99999999999999999999", None, 422),
        ("GET", "/api/images?ids=1,,2", None, 422),
        ("GET", "/api/images?limit=501", None, 422),
        ("GET", "/api/nothing", None, 404),
        ("GET", "/static/../app.py", None, 404),
        ("GET", "/static/..%2fapp.py", None, 404),
        ("GET", "/static/none.js", None, 404),
        ("POST", "/api/labels", {"images": [99], "class": None}, 404),
        ("POST", "/api/labels", {"images": [1]}, 422),
        ("POST", "/api/labels", {"images": [1.5], "class": 1}, 422),
        ("POST", "/api/labels", {"images": [99999999999999999999], "class": None}, 422),
        ("POST", "/api/classes", {"name": "\n"}, 422),
        ("POST", "/api/undo", None, 409),
        ("DELETE", "/api/labels", None, 405),
        ("POST", "/api/images", None, 422),
    ],
)
def test_requests_that_are_not_valid_are_refused(
    client: TestClient, method: str, path: str, body: object, status: int
) -> None:
    assert problem(client.request(method, path, json=body))[0] == status


def test_other_sites_and_other_names_are_refused(client: TestClient) -> None:
    body = {"name": "cat"}
    assert problem(client.post("/api/classes", json=body, headers={"Origin": "http://evil.example"}))[0] == 403
    assert problem(client.post("/api/classes", json=body, headers={"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert problem(client.get("/api/project", headers={"Host": "evil.example"}))[0] == 421
    assert client.get("/api/project").json()["classes"] == []


def test_with_a_token_nothing_is_told_without_it(open_client: Open) -> None:
    token = "a-token-of-some-length"
    client = open_client(token=token)
    for path in ("/api/project", "/api/images", "/api/events", "/openapi.json"):
        assert problem(client.get(path))[0] == 401
    assert client.get("/static/report.css").status_code == 200
    page = client.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, "headstart studio" in page.text) == (401, True)
    assert client.get(f"/?token={token}", follow_redirects=False).status_code == 303
    assert client.cookies["headstart-studio"] != token
    assert client.get("/api/project").status_code == 200  # by the cookie


def test_limits_on_uploads(open_client: Open, make_jpeg: Make) -> None:
    client = open_client(max_files=2, max_megabytes=1)
    three = form({f"{number}.jpg": make_jpeg("cat", number) for number in range(3)})
    assert problem(client.post("/api/images", files=three)) == (413, "at most 2 files per request")
    assert problem(client.post("/api/images", files=form({"1.jpg": bytes(1_100_000)})))[0] == 413
    assert problem(client.post("/api/images", files={"images": ("", b"")}))[0] in (400, 422)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert problem(client.post("/api/images", content=b"--y", headers=headers))[0] in (400, 422)
    assert client.get("/api/project").json()["counts"]["images"] == 0


def test_images_with_too_many_pixels_are_a_problem(open_client: Open, make_jpeg: Make) -> None:
    client = open_client(max_pixels=100)
    answer = client.post("/api/images", files=form({"1.jpg": make_jpeg("cat", 1)})).json()
    assert answer["problems"][0]["reason"].startswith("120x120 is more than the 100 pixels allowed")


def test_a_full_disk_is_told_and_nothing_is_lost(filled: TestClient) -> None:
    studio: Studio = filled.app_state["studio"]
    connection = studio.project._database._writer
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    statuses = []
    for number in range(1000):
        answer = filled.post("/api/classes", json={"name": f"{number} {'x' * 190}"})
        statuses.append(answer.status_code)
        if answer.status_code != 201:
            break
    assert problem(answer)[0] == 507
    assert "the disk is full" in answer.json()["detail"]
    assert len(filled.get("/api/project").json()["classes"]) == 2 + len(statuses) - 1


def test_a_folder_of_this_machine_is_added_in_the_background(
    open_client: Open, tmp_path: Path, make_jpeg: Make
) -> None:
    for name in ("cat", "cup"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(make_jpeg(name, 1))
    client = open_client(folders=(tmp_path / "photos",))
    assert client.post("/api/folder", json={"path": str(tmp_path / "photos")}).status_code == 202
    wait_for(lambda: (client.get("/api/project").json()["importing"] or {}).get("state") == "done")
    state = client.get("/api/project").json()
    assert (state["counts"]["labeled"], state["importing"]["added"]) == (2, 2)
    status, detail = problem(client.post("/api/folder", json={"path": str(tmp_path)}))
    assert (status, "--allow-paths" in detail) == (422, True)


def test_a_folder_that_cannot_be_read_is_told(open_client: Open, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    client = open_client(folders=(tmp_path / "photos",))
    client.post("/api/folder", json={"path": str(tmp_path / "photos")}).raise_for_status()
    wait_for(lambda: (client.get("/api/project").json()["importing"] or {}).get("state") == "failed")
    assert "has no images" in client.get("/api/project").json()["importing"]["message"]


@pytest.mark.parametrize("show", ["all", "unlabeled", "labeled", "problems", "class:1"])
@pytest.mark.parametrize("order", ["added", "name"])
def test_no_list_is_sorted_when_it_is_asked_for(filled: TestClient, show: str, order: str) -> None:
    """An index has each list in its order, so that a page of 100,000 images takes milliseconds (benchmarks/scale)."""
    studio: Studio = filled.app_state["studio"]
    asked: list[str] = []
    with studio.project._database.read() as connection:
        connection.set_trace_callback(asked.append)
    filled.get(f"/api/images?show={show}&order={order}").raise_for_status()
    (query,) = [each for each in asked if "OFFSET" in each]
    with studio.project._database.read() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len(plan) == 1
    assert "TEMP B-TREE" not in plan[0]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
