"""The routes in this process: answers, refusals, and what hostile requests get."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import headstart as hs
from headstart.data.manifest import Manifest
from headstart.report.page import script_hash

Open = Callable[..., TestClient]
Make = Callable[..., bytes]


def form(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{number}.jpg", content)) for number, content in enumerate(contents)]


def problem(response: Any) -> tuple[int, str]:
    """The status and the sentence of a refusal."""
    assert response.headers["content-type"] == "application/problem+json"
    read = response.json()
    assert read["status"] == response.status_code
    assert read["title"]
    return response.status_code, read["detail"]


def test_one_image(client: TestClient, classifier: hs.Classifier, make_jpeg: Make) -> None:
    content = make_jpeg("cup", 50)
    read = client.post("/predict", files=form(content)).json()
    (image,) = read["images"]
    assert (read["model"], read["coverage"], image["name"]) == ("tf_efficientnet_lite0", 0.9, "0.jpg")
    assert [each["name"] for each in image["top"]] == [name for name, _ in classifier.top_k(content, 5)]
    assert image["prediction_set"] == classifier.predict_sets([content])[0]
    assert image["out_of_distribution"] is False
    assert image["problem"] is None
    assert image["explanation"] is None


def test_many_images_get_the_answers_of_predict(client: TestClient, classifier: hs.Classifier, make_jpeg: Make) -> None:
    contents = [make_jpeg(name, seed) for seed in range(40, 45) for name in ("cat", "cup", "rocket")]
    expected = classifier.predict_proba(contents)
    read = client.post("/predict", files=form(*contents)).json()["images"]
    found = [{each["name"]: each["probability"] for each in image["top"]} for image in read]
    given = np.array([[each[name] for name in classifier.classes] for each in found])
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_concurrent_requests_share_batches(open_client: Open, classifier: hs.Classifier, make_jpeg: Make) -> None:
    client = open_client(batch_wait=200.0)
    contents = [make_jpeg(name, seed) for seed in range(8) for name in ("cat", "cup")]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda content: client.post("/predict", files=form(content)).json(), contents))
    best = [answer["images"][0]["top"][0] for answer in answers]
    expected = classifier.predict_proba(contents)
    assert [each["name"] for each in best] == classifier.predict(contents).tolist()
    np.testing.assert_allclose([each["probability"] for each in best], expected.max(1), atol=1e-5)
    counts = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(counts["headstart_batch_images_sum"]) == 16
    assert float(counts["headstart_batch_images_count"]) < 16  # some were in the same batch
    assert float(counts['headstart_images_total{outcome="predicted"}']) == 16
    assert float(counts["headstart_queue_images"]) == 0


def test_json_and_raw_bodies(client: TestClient, make_jpeg: Make) -> None:
    content = make_jpeg("rocket", 60)
    body = {"images": [{"name": "a", "base64": base64.b64encode(content).decode()}]}
    by_json = client.post("/predict", json=body).json()["images"]
    raw = client.post("/predict", content=content, headers={"Content-Type": "image/jpeg"}).json()["images"]
    assert by_json[0]["name"] == "a"
    assert by_json[0]["top"] == raw[0]["top"]
    assert raw[0]["top"][0]["name"] == "rocket"


def test_explanation(client: TestClient, make_jpeg: Make) -> None:
    read = client.post("/predict?explain=true&top=1", files=form(make_jpeg("cat", 3)))
    (image,) = read.json()["images"]
    assert len(image["top"]) == 1
    explanation = image["explanation"]
    assert explanation["method"] in ("class activation map", "gradient times activation")
    shown = Image.open(io.BytesIO(base64.b64decode(explanation["saliency"].partition(",")[2])))
    assert shown.size == (224, 224)
    near = explanation["neighbors"]
    assert [each["label"] for each in near] == ["cat"] * 6
    assert near[0]["cosine"] >= near[-1]["cosine"] > 0.5
    assert near[0]["thumbnail"].startswith("data:image/jpeg;base64,")
    two = client.post("/predict?explain=true", files=form(make_jpeg(), make_jpeg()))
    assert problem(two) == (422, "explain is for one image per request")


def test_facts_page_and_report(client: TestClient) -> None:
    info = client.get("/").json()
    assert (info["name"], info["classes"], info["calibrated"], info["report"]) == (
        "run",
        ["cat", "cup", "rocket"],
        True,
        True,
    )
    page = client.get("/", headers={"Accept": "text/html"})
    assert "One of 3 classes: cat, cup, rocket." in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    report = client.get("/report")
    assert "accuracy" in report.text
    policy = report.headers["content-security-policy"]
    assert f"script-src '{script_hash()}';" in policy  # its own script, and no other one
    for name, kind in (("page.css", "text/css"), ("report.css", "text/css"), ("page.js", "text/javascript")):
        assert client.get(f"/static/{name}").headers["content-type"] == f"{kind}; charset=utf-8"
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_the_form_without_a_script(client: TestClient, make_jpeg: Make) -> None:
    html = {"Accept": "text/html"}
    one = client.post("/predict", files=form(make_jpeg("cup", 9)), headers=html).text
    assert '<h2 id="answer">cup</h2>' in one
    assert "Nearest training images" in one
    two = client.post("/predict", files=form(make_jpeg(), b"<script>"), headers=html).text
    assert "<td>cat</td>" in two
    none = client.post(
        "/predict", files=[("images", ("<b>.jpg", b"<svg>"))], headers=html | {"Prefer": "handling=lenient"}
    )
    assert none.status_code == 422
    assert "&lt;b&gt;.jpg: not an image that Pillow reads, but an SVG drawing" in none.text


def test_the_classifier_is_not_ready(open_client: Open, make_jpeg: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.serve.service.Service.warm_up", lambda _: None)
    client = open_client(ready=False)
    response = client.get("/readyz")
    assert problem(response)[0] == 503
    assert response.headers["retry-after"] == "1"
    assert problem(client.post("/predict", files=form(make_jpeg()))) == (
        503,
        "the classifier is being loaded: try again in a few seconds",
    )
    assert client.get("/healthz").status_code == 200


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes whose header promises so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))


def test_limits(open_client: Open, make_jpeg: Make) -> None:
    client = open_client(max_files=2, max_megabytes=1, max_pixels=100_000)
    assert problem(client.post("/predict", files=form(*[make_jpeg()] * 3))) == (
        413,
        "at most 2 images per request: send the others in further ones",
    )
    assert client.post("/predict", files=form(make_jpeg(), make_jpeg())).status_code == 200
    images = {"images": [{"base64": ""}] * 3}
    assert problem(client.post("/predict", json=images))[0] == 413
    too_long = "the request is larger than the 1 megabytes that this server accepts"
    assert problem(client.post("/predict", files=form(bytes(1_000_001)))) == (413, too_long)

    def stream() -> Any:  # without a Content-Length
        for _ in range(20):
            yield bytes(100_000)

    assert problem(client.post("/predict", content=stream(), headers={"Content-Type": "image/png"})) == (413, too_long)
    reason = "image: 20000 × 20000 pixels are more than the 100,000 that this server accepts"
    raw = {"Content-Type": "image/png"}
    assert problem(client.post("/predict", content=bomb(20_000, 20_000), headers=raw)) == (413, reason)
    two = client.post("/predict", files=form(make_jpeg(), bomb(20_000, 20_000)))
    assert two.status_code == 200
    assert two.json()["images"][1]["problem"] == reason.removeprefix("image: ")


def test_too_many_wait(open_client: Open, make_jpeg: Make) -> None:
    client = open_client(max_queue=4)
    content = [make_jpeg("cat", seed) for seed in range(12)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", files=form(*content)), range(3)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[-1] == 503
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert problem(refused)[1] == "12 images are waiting, and at most 4 may: try again later"
    assert client.post("/predict", files=form(*content)).status_code == 200  # the places are free again


def test_the_answer_takes_too_long(open_client: Open, make_jpeg: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_client(timeout=0.3)
    monkeypatch.setattr("headstart.serve.decoding.make_view", lambda *_: time.sleep(1))
    response = client.post("/predict", files=form(make_jpeg()))
    assert problem(response) == (503, "the answer took more than 0.3 seconds: try again, with fewer images")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (b"", "image/jpeg", 422, "the request has no image"),
        (b"GIF", "text/plain", 415, "the content type text/plain: send multipart"),
        (b"x", "multipart/form-data", 400, "the form cannot be read: Missing boundary"),
        (b"--b\r\nrubbish", "multipart/form-data; boundary=b", 422, "the request has no image"),
        (b"{", "application/json", 422, "the JSON is not as expected: Invalid JSON"),
        (b"[]", "application/json", 422, "the JSON is not as expected: Input should be an object"),
        (b'{"images": []}', "application/json", 422, "the JSON is not as expected: images: List should have"),
        (b'{"images": [{}]}', "application/json", 422, "images.0: Value error, an image has either base64 or path"),
        (b'{"images": [{"base64": "?"}]}', "application/json", 422, "image 1: this is not base64"),
        (b'{"images": [{"path": "/etc/passwd"}]}', "application/json", 403, "this server reads no files of its own"),
        (b"%PDF-1.4", "image/jpeg", 422, "image: not an image that Pillow reads, but a PDF document"),
        (b"\xff\xd8\xff\xe0", "image/jpeg", 422, "image: "),
    ],
)
def test_wrong_bodies(client: TestClient, body: bytes, kind: str, status: int, sentence: str) -> None:
    found = problem(client.post("/predict", content=body, headers={"Content-Type": kind}))
    assert found[0] == status
    assert sentence in found[1]


def test_every_truncation_is_refused(client: TestClient, make_jpeg: Make) -> None:
    content = make_jpeg("cat", 1)
    cuts = [content[: len(content) * share // 20] for share in range(1, 20)]
    read = client.post("/predict", files=form(*cuts), headers={"Prefer": "handling=lenient"}).json()["images"]
    assert all(each["problem"] and not each["top"] for each in read)


def test_parameters(client: TestClient, make_jpeg: Make) -> None:
    for query in ("top=0", "top=1001", "top=x", "explain=maybe"):
        assert problem(client.post(f"/predict?{query}", files=form(make_jpeg())))[0] == 422
    assert problem(client.get("/predict")) == (405, "Method Not Allowed")
    assert problem(client.get("/etc/passwd")) == (404, "Not Found")
    assert problem(client.get("/static/../server.py"))[0] == 404


def test_paths_stay_below_their_folder(open_client: Open, photos: Path, tmp_path: Path, make_jpeg: Make) -> None:
    folder = tmp_path / "allowed"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.jpg").write_bytes(make_jpeg())
    (folder / "inside.jpg").symlink_to(folder / "deep" / "a.jpg")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(make_jpeg("cup"))
    (folder / "link.jpg").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    client = open_client(paths=folder)

    def ask(path: str) -> str | None:
        body = {"images": [{"path": path}]}
        read = client.post("/predict", json=body, headers={"Prefer": "handling=lenient"}).json()
        return str(read["images"][0]["problem"]) if read["images"][0]["problem"] else None

    assert ask("deep/a.jpg") is None
    assert ask("inside.jpg") is None
    assert ask(str(folder / "deep" / "a.jpg")) is None
    outside = ("link.jpg", "up/secret.jpg", "../secret.jpg", str(secret), "/etc/passwd", "deep/../../secret.jpg")
    for path in (*outside, "pipe", "deep", "", "missing.jpg", "a\0b", "/dev/zero", "~/x", "x" * 4096):
        assert ask(path) == "no such file in the folder that this server reads"


def test_metrics_count_routes(client: TestClient) -> None:
    client.get("/nowhere/" + "x" * 100)
    text = client.get("/metrics").text
    assert 'headstart_requests_total{route="other",status="404"}' in text
    assert "nowhere" not in text


def test_openapi_names_every_answer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/", "/healthz", "/readyz", "/metrics", "/predict"}
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "application/json", "image/jpeg"}
    assert set(predict["responses"]) == {"200", *map(str, (400, 401, 403, 408, 413, 415, 421, 422, 503))}
    text = json.dumps(document)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def test_the_default_engine_gives_the_answers_of_predict(
    classifier: hs.Classifier, make_jpeg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.config import EngineSettings
    from headstart.data.transforms import make_view
    from headstart.inference.view_runner import ViewRunner

    runner = ViewRunner(classifier.pipeline, EngineSettings(device="cpu", precision="float32"))
    contents = [make_jpeg(name, seed) for seed in range(3) for name in ("cat", "cup", "rocket")]
    views = [make_view(Image.open(io.BytesIO(each)).convert("RGB"), classifier.spec, 0, "") for each in contents]
    manifest = Manifest.from_arrays(contents)
    expected = classifier.infer(manifest, settings=EngineSettings(device="cpu", precision="float32")).probabilities
    for start, count in ((0, 1), (1, 2), (0, 5), (0, runner.batch_size)):
        found = runner(np.stack(views[start : start + count])).probabilities
        np.testing.assert_allclose(found, expected[start : start + count], atol=1e-5)
