"""Events reach every listener in order, and no listener can disturb the work."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from headstart.data.digests import folder_digests
from headstart.description import DataDescription
from headstart.events import (
    Done,
    EpochEnded,
    Event,
    EventLog,
    Events,
    Notice,
    StageAdvanced,
    StageBegun,
    StageEnded,
    TrialEnded,
    Warned,
    in_megabytes,
)

EPOCH = EpochEnded("last:1", 1, 12, 0.5, 0.75, float("nan"), 0.7, 1.5)
TRIAL = TrialEnded("head", 0.9, 0.85, 0.94, 0.3, 2.5)


def lines(path: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_stage_is_begun_advanced_and_ended() -> None:
    seen: list[Event] = []
    events = Events(seen.append)
    with events.stage("reading", total=3, unit="file") as advance:
        advance(1)
        events.notice("a.jpg has no label")
        advance(2)
    assert seen[:4] == [
        StageBegun("reading", 3, "file"),
        StageAdvanced("reading", 1, 3),
        Notice("a.jpg has no label"),
        StageAdvanced("reading", 3, 3),
    ]
    (ended,) = seen[4:]
    assert isinstance(ended, StageEnded)
    assert (ended.name, ended.done, ended.total, ended.unit) == ("reading", 3, 3, "file")
    assert 0 <= ended.seconds < 60


def test_a_stage_that_fails_is_ended_too() -> None:
    seen: list[Event] = []

    def work() -> None:
        with Events(seen.append).stage("reading", total=3) as advance:
            advance(1)
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        work()
    assert isinstance(seen[-1], StageEnded)
    assert (seen[-1].done, seen[-1].total) == (1, 3)


def test_without_listeners_nothing_happens(capfd: pytest.CaptureFixture[str]) -> None:
    events = Events()
    with events.stage("reading", total=1) as advance:
        advance(1)
    events.notice("a")
    events.warn("b")
    assert capfd.readouterr() == ("", "")


def test_a_listener_that_raises_stops_neither_the_work_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Event] = []
    before: list[Event] = []
    after: list[Event] = []

    def broken(event: Event) -> None:
        calls.append(event)
        raise RuntimeError("the page is gone")

    events = Events(before.append, broken, after.append)
    with caplog.at_level(logging.ERROR, logger="headstart.events"):
        events.notice("one")
        events.warn("two")
    assert calls == [Notice("one")]
    assert before == after == [Notice("one"), Warned("two")]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "an event listener failed and receives no more events" in record.getMessage()
    assert "broken" in record.getMessage()


def test_only_the_listener_that_raised_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Two listeners that compare equal are still two."""

    class Equal:
        def __init__(self, fails: bool) -> None:
            self.fails, self.seen = fails, 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, _: Event) -> None:
            if self.fails:
                raise RuntimeError
            self.seen += 1

    works, fails = Equal(False), Equal(True)
    events = Events(works, fails)
    events.notice("one")
    events.notice("two")
    assert works.seen == 2
    assert len(caplog.records) == 1


def test_keyboard_interrupt_passes_through() -> None:
    """A listener can stop the work, and Ctrl-C in a listener is not swallowed."""
    seen: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, StageAdvanced):
            raise KeyboardInterrupt

    events = Events(stop, seen.append)
    with pytest.raises(KeyboardInterrupt), events.stage("reading", total=3) as advance:
        advance(1)
    assert [event.kind for event in seen] == ["stage_begun", "stage_ended"]
    assert isinstance(seen[-1], StageEnded)
    assert seen[-1].done == 1


def test_a_listener_may_emit() -> None:
    seen: list[Event] = []

    def answer(event: Event) -> None:
        if isinstance(event, Notice):
            events.warn(event.text.upper())

    events = Events(answer, seen.append)
    events.notice("a")
    assert seen == [Warned("A"), Notice("a")]


def test_stages_may_advance_in_several_threads() -> None:
    """Events are delivered one at a time, and no unit is lost."""
    seen: list[Event] = []
    inside = threading.Lock()

    def listen(event: Event) -> None:
        assert inside.acquire(blocking=False), "two events at once"
        seen.append(event)
        inside.release()

    with Events(listen).stage("reading", total=2000) as advance, ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, [1] * 2000))
    counts = [event.done for event in seen if isinstance(event, StageAdvanced)]
    assert counts == list(range(1, 2001))
    assert isinstance(seen[-1], StageEnded)
    assert seen[-1].done == 2000


def test_a_stage_that_works_in_threads_reports_every_file(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.txt").write_text(str(number))
    seen: list[Event] = []
    assert len(folder_digests(tmp_path, events=Events(seen.append))) == 50
    assert [event.done for event in seen if isinstance(event, StageAdvanced)] == list(range(1, 51))


@pytest.mark.parametrize("kind", Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_events_are_frozen_and_have_a_kind_of_their_own(kind: type[Event]) -> None:
    values = {"str": "text", "int": 1, "float": 0.5, "DataDescription": DataDescription("photos", "images", 1)}
    event = kind(**{field.name: values[str(field.type)] for field in fields(kind)})
    assert event.as_dict()["kind"] == kind.kind
    assert [other.kind for other in Event.__subclasses__()].count(kind.kind) == 1
    with pytest.raises(AttributeError):
        event.kind = "another"  # type: ignore[misc]


# -- the log ----------------------------------------------------------------------------------------------------------


def test_the_log_has_a_json_object_per_line(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "dogs" / "events.jsonl"
    events = Events(EventLog(path))
    events.notice("나비 \N{BUTTERFLY}\nand a second line")
    events.warn("bad\udcff.jpg")  # a file name that is not UTF-8
    for event in (EPOCH, TRIAL, Done("finished")):
        events.emit(event)
    found = lines(path)
    times = [line.pop("time") for line in found]
    assert times == sorted(times)
    assert times[0] > 1.6e9
    assert found == [
        {"kind": "notice", "text": "나비 \N{BUTTERFLY}\nand a second line"},
        {"kind": "warning", "text": "bad\udcff.jpg"},
        {**EPOCH.as_dict(), "kind": "epoch_ended", "val_loss": None},
        {**TRIAL.as_dict(), "kind": "trial_ended"},
        {"kind": "done", "text": "finished"},
    ]
    assert "나비" in path.read_text(encoding="utf-8")  # readable for people


def test_the_log_can_be_read_while_the_work_runs(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(EventLog(path))
    assert not path.exists()
    for count, text in enumerate("abc", 1):
        events.notice(text)
        assert len(lines(path)) == count


def test_a_new_log_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("old\n")
    log = EventLog(path)
    assert path.read_text() == "old\n"
    log(Notice("new"))
    assert [line["text"] for line in lines(path)] == ["new"]


def test_a_log_does_not_follow_a_link(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "events.jsonl", tmp_path / "elsewhere.txt"
    elsewhere.write_text("precious\n")
    path.symlink_to(elsewhere)
    log = EventLog(path)
    log(Notice("one"))
    log(Notice("two"))
    assert [line["text"] for line in lines(path)] == ["one", "two"]
    assert elsewhere.read_text() == "precious\n"


def test_the_log_has_at_most_one_advance_per_stage_and_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("headstart.events.time.monotonic", lambda: now[0])
    path = tmp_path / "events.jsonl"
    events = Events(EventLog(path))
    with events.stage("reading", total=50) as read, events.stage("hashing", total=50) as hashed:
        for _ in range(50):
            read(1)
            hashed(1)
            now[0] += 0.125  # exact in binary
    found = lines(path)
    for name in ("reading", "hashing"):
        done = [line["done"] for line in found if line["kind"] == "stage_advanced" and line["name"] == name]
        assert done == [1, 9, 17, 25, 33, 41, 49]
    assert [line["done"] for line in found if line["kind"] == "stage_ended"] == [50, 50]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    seen: list[Event] = []
    events = Events(EventLog(tmp_path / "runs" / "events.jsonl"), seen.append)
    events.notice("one")
    events.notice("two")
    assert seen == [Notice("one"), Notice("two")]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("sizes", [[1 << 20], [1] * 5 + [(1 << 20) - 5], [3 << 19, 1 << 19]])
def test_megabytes_are_passed_on_when_they_are_complete(sizes: list[int]) -> None:
    advanced: list[int] = []
    add = in_megabytes(advanced.append)
    for size in sizes:
        add(size)
    assert sum(advanced) == sum(sizes) >> 20
    assert 0 not in advanced


def test_a_listener_that_comes_later_hears_what_follows() -> None:
    seen: list[Event] = []
    events = Events()
    events.notice("before")
    events.listen(seen.append)
    events.notice("after")
    assert seen == [Notice("after")]
