from __future__ import annotations

import csv
import os
from pathlib import Path

from headstart.data.issues import Issue
from headstart.data.issues.tables import write_corrections, write_issues
from headstart.data.parquet import read_parquet
from headstart.data.uri import display_name


def test_evidence_may_name_files_that_are_not_utf_8(tmp_path: Path) -> None:
    uri, other = "file:///photos/x%E9.jpg", "file:///photos/y%E9.jpg"
    issues = [Issue("duplicate", uri, 1.0, f"the same file as {display_name(other)}", "drop", related=(other,))]
    write_issues(issues, tmp_path)
    assert read_parquet(tmp_path / "issues.parquet")["evidence"].to_pylist() == ["the same file as /photos/y\\xe9.jpg"]
    with (tmp_path / "issues.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        (row,) = csv.DictReader(file)
    assert os.fsencode(row["uri"]) == b"/photos/x\xe9.jpg"
    assert write_corrections(issues, tmp_path / "corrections.csv") == 1
    with (tmp_path / "corrections.csv").open(newline="", encoding="utf-8") as file:
        assert [row["uri"] for row in csv.DictReader(file)] == [uri]
