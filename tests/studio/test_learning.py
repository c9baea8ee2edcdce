"""What is learned, through the same API as the page: from images to a downloaded classifier."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

Make = Callable[..., bytes]
NAMES = ("cat", "cup", "rocket")


def form(contents: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (name, content)) for name, content in contents.items()]


def wait_for(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory, make_jpeg: Make, open_studio: Any) -> Iterator[TestClient]:
    """Thirty images of three classes, of which the first twenty-one are labeled; learned."""
    with ExitStack() as stack:
        client: TestClient = open_studio(stack, tmp_path_factory.mktemp("learning") / "project", learn=True)
        for first, labels in ((0, "subfolders"), (7, "none")):
            seeds = range(first, first + (7 if labels == "subfolders" else 3))
            contents = {f"{name}/{seed}.jpg": make_jpeg(name, seed) for name in NAMES for seed in seeds}
            client.post(f"/api/images?labels={labels}", files=form(contents)).raise_for_status()

        def learned() -> bool:
            state = client.get("/api/learning").json()
            assert state["phase"] != "failed", state["message"]
            return state["phase"] == "idle" and state["images_with_features"] == 30 and state["accuracy"] is not None

        wait_for(learned)
        yield client


def test_the_state_tells_accuracy_and_curve(learner: TestClient) -> None:
    state = learner.get("/api/project").json()
    learning = state["learning"]
    assert learning["labels"] == 21
    assert learning["accuracy"]["low"] <= learning["accuracy"]["value"] <= learning["accuracy"]["high"]
    assert [point["labels"] for point in learning["curve"]][-1] == 21
    assert state["model"] == "test_resnet.r160_in1k"
    assert "onnx" in state["formats"]


def test_images_without_a_label_have_suggestions_in_the_order_in_which_they_help(learner: TestClient) -> None:
    page = learner.get("/api/images?show=unlabeled&order=suggested").json()
    assert page["total"] == 9
    assert sorted(row["id"] for row in page["images"]) == list(range(22, 31))
    assert all(0 < row["suggestion"]["probability"] <= 1 for row in page["images"])
    whole = learner.get("/api/images?order=suggested&limit=500").json()["images"]
    assert [row["id"] for row in whole[:9]] == [row["id"] for row in page["images"]]
    parts = [learner.get(f"/api/images?order=suggested&offset={at}&limit=10").json()["images"] for at in (0, 10, 20)]
    assert [row["id"] for part in parts for row in part] == [row["id"] for row in whole]
    assert all(row["suggestion"] is None for row in whole if row["class"] is not None)


def test_the_evaluation_leads_to_its_images(learner: TestClient) -> None:
    found = learner.get("/api/evaluation").json()
    assert found["images"] == sum(map(sum, found["confusion"])) == 21
    assert [each["count"] for each in found["classes"]] == [7, 7, 7]
    classes = [each["id"] for each in found["classes"]]
    for row, given in enumerate(classes):
        for column, predicted in enumerate(classes):
            assert (
                learner.get(f"/api/images?show=cell:{given}:{predicted}").json()["total"]
                == found["confusion"][row][column]
            )
    for number, each in enumerate(found["bins"]):
        page = learner.get(f"/api/images?show=bin:{number}").json()
        assert page["total"] == each["count"]
        assert all(row["suggestion"] is not None for row in page["images"])
    errors = learner.get("/api/images?show=errors").json()["images"]
    assert [row["id"] for row in errors] == [each["id"] for each in found["errors"]]
    assert learner.get("/api/images?show=wrong").status_code == 200
    assert learner.get("/api/images?show=bin:10").status_code == 422


def test_an_image_has_probabilities_neighbors_and_a_map(learner: TestClient) -> None:
    details = learner.get("/api/images/30").json()
    assert sum(each["probability"] for each in details["probabilities"]) == pytest.approx(1, abs=1e-4)
    cosines = [each["cosine"] for each in details["neighbors"]]
    assert len(cosines) == 6
    assert cosines == sorted(cosines, reverse=True)
    answer = learner.get("/api/images/30/saliency")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"


def test_new_images_are_tried_and_not_kept(learner: TestClient, make_jpeg: Make) -> None:
    answer = learner.post(
        "/api/predict", files=form({"new.jpg": make_jpeg("cup", 99), "broken.jpg": b"\xff\xd8"})
    ).json()
    assert [each["name"] for each in answer["images"]] == ["new.jpg", "broken.jpg"]
    assert {each["name"] for each in answer["images"][0]["top"]} == set(NAMES)
    assert answer["images"][1]["problem"]
    assert learner.get("/api/project").json()["counts"]["images"] == 30
    assert learner.post("/api/predict?run=none", files=form({"1.jpg": make_jpeg()})).status_code == 404


def test_a_rejected_suggestion_is_not_made_again(learner: TestClient) -> None:
    row = learner.get("/api/images?ids=25").json()["images"][0]
    rejected = row["suggestion"]["class"]
    learner.post("/api/reject", json={"labels": {"25": rejected}}).raise_for_status()

    def changed() -> bool:
        again = learner.get("/api/images?ids=25").json()["images"][0]["suggestion"]
        return again is None or again["class"] != rejected

    wait_for(changed)
    learner.post("/api/undo").raise_for_status()


def test_a_job_is_started_told_and_stopped(learner: TestClient) -> None:
    assert learner.post("/api/fit", json={"budget": "soon"}).status_code == 422
    assert learner.post("/api/exports", json={"format": "onnx"}).status_code == 404  # of which run?
    job = learner.post("/api/fit", json={"budget": "10m"}).json()
    assert (job["kind"], job["state"]) == ("fit", "queued")
    assert learner.get("/api/jobs").json()["jobs"][0]["id"] == job["id"]
    stopped = learner.post(f"/api/jobs/{job['id']}/stop").json()
    assert stopped["state"] == "stopped"
    assert learner.get(f"/api/jobs/{job['id']}").json()["state"] == "stopped"
    assert learner.get("/api/jobs/99").status_code == 404


def test_runs_and_exports_are_downloaded(learner: TestClient, make_run: Callable[..., Path]) -> None:
    folder = Path(learner.get("/api/project").json()["folder"])
    run = folder / "runs" / "fit-9"
    run.parent.mkdir(exist_ok=True)
    make_run(["cat", "dog"]).rename(run)
    (run / "report.html").write_text("<p>the report</p>")
    (run / "secret.txt").symlink_to(folder / "project.sqlite")
    exports = folder / "exports"
    exports.mkdir(exist_ok=True)
    for name, content in (("fit-9.onnx", b"onnx"), ("fit-9.xml", b"operations"), ("fit-9.bin", b"weights")):
        (exports / name).write_bytes(content)
    for name in ("fit-9.onnx", "fit-9.xml"):
        (exports / f"{name}.export.json").write_text("{}")
    state = learner.get("/api/project").json()
    assert [(each["name"], each["report"]) for each in state["runs"]] == [("fit-9", True)]
    assert sorted((each["file"], each["format"]) for each in state["exports"]) == [
        ("fit-9.onnx", "onnx"),
        ("fit-9.xml", "openvino"),
    ]
    assert members(learner.get("/api/runs/fit-9.zip")) >= {"fit-9/evaluation.json", "fit-9/report.html"}
    assert "fit-9/secret.txt" not in members(learner.get("/api/runs/fit-9.zip"))
    report = learner.get("/api/runs/fit-9/report")
    assert "script-src 'sha256-" in report.headers["content-security-policy"]
    onnx = learner.get("/api/exports/fit-9.onnx")
    assert (onnx.content, onnx.headers["content-disposition"]) == (b"onnx", "attachment; filename*=UTF-8''fit-9.onnx")
    assert members(learner.get("/api/exports/fit-9.xml")) == {"fit-9.xml", "fit-9.bin"}
    (run / "report.html").unlink()
    (run / "report.html").symlink_to(folder / "project.sqlite")
    for path in (
        "/api/runs/fit-9/report",
        "/api/runs/..%2f..zip",
        "/api/runs/none/report",
        "/api/exports/..%2fproject.sqlite",
        "/api/exports/fit-9.onnx.export.json",
    ):
        assert learner.get(path).status_code == 404, path


def members(answer: Any) -> set[str]:
    """The names in an archive."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return set(archive.namelist())


def test_without_learning_the_api_says_so(open_client: Callable[..., TestClient]) -> None:
    client = open_client()
    assert "--no-learn" in client.get("/api/learning").json()["message"]
    for path in ("/api/evaluation", "/api/jobs", "/api/images?show=errors"):
        answer = client.get(path)
        assert (answer.status_code, "--no-learn" in answer.json()["detail"]) == (503, True)
    assert client.get("/api/labels.csv").text == "path,name,label,labeled_by,labeled_at\n"
