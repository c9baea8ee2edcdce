"""Events as a person sees them: bars on a terminal, lines in a log file."""

from __future__ import annotations

import io
import sys

import pytest

from headstart.cli.console import console, event_line
from headstart.events import Done, EpochEnded, Event, Notice, StageBegun, TrialEnded, Warned


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Notice("3 images have no label"), "3 images have no label"),
        (Done("finished"), "finished"),
        (Warned("the disk is nearly full"), "warning: the disk is nearly full"),
        (
            EpochEnded("last:1", 2, 12, 0.5, 0.75, 0.625, 0.7, 1.5),
            "epoch 2/12: loss 0.500, accuracy 75.0%; validation loss 0.625, accuracy 70.0%",
        ),
        (
            TrialEnded("head", 0.9, 0.85, 0.94, 0.3, 2.54),
            "head: accuracy 90.0% (85.0% to 94.0%), log-loss 0.300, 2.5 s",
        ),
        (StageBegun("reading", 3), None),
    ],
)
def test_lines(event: Event, line: str | None) -> None:
    assert event_line(event) == line


def test_a_log_file_gets_a_line_per_stage_and_no_bars(capfd: pytest.CaptureFixture[str]) -> None:
    events = console()
    with events.stage("reading", total=200) as advance:
        events.notice("a.jpg has no label")
        for _ in range(200):
            advance(1)
    out, err = capfd.readouterr()
    assert out == ""
    first, last = err.splitlines()
    assert first == "a.jpg has no label"
    assert last.startswith("reading: 200 images in ")
    assert last.endswith(" images/s")


def test_a_terminal_gets_a_bar_and_lines_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    events = console()
    with events.stage("fetching", total=4, unit="file") as advance:
        advance(2)
        events.warn("slow")
        advance(2)
    text = terminal.getvalue()
    assert "fetching:" in text
    assert "/4" in text
    assert "warning: slow\n" in text
    assert "images" not in text


def test_a_stage_that_was_interrupted_has_no_rate(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with console().stage("reading", total=3) as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capfd.readouterr() == ("", "")


def test_other_listeners_receive_the_events_too(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Event] = []
    console(seen.append).notice("a")
    assert seen == [Notice("a")]
    assert capfd.readouterr().err == "a\n"
