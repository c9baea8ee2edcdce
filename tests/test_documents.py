"""Typed documents: round trip, and the error messages about documents that do not fit their type."""

import json
import math
from dataclasses import dataclass, field

import pytest

from headstart.documents import (
    decode,
    encode,
    json_schema,
    read_document,
    read_lines,
    write_document,
    write_lines,
)
from headstart.errors import RunError
from headstart.evaluate.schema import Evaluation


@dataclass(frozen=True)
class Inner:
    value: float
    name: str = "é"


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    rows: tuple[Inner, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    maybe: Inner | None = None


OUTER = Outer(3, Inner(0.1), (Inner(1 / 3, "a"), Inner(2.0, "b")), {"x": 1e-300}, Inner(5.0))


def refusal_of(call, *arguments, **options):
    with pytest.raises(RunError) as refusal:
        call(*arguments, **options)
    return str(refusal.value)


def test_a_document_round_trips(tmp_path):
    path = tmp_path / "outer.json"
    for document in (OUTER, Outer(0, Inner(-1.0))):
        write_document(path, document, version=7)
        assert read_document(Outer, path, version=7) == document
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{\n  "format": 7,\n  "count": 0,')
    assert "é" in text
    assert [file.name for file in tmp_path.iterdir()] == ["outer.json"]


def test_lines_round_trip(tmp_path):
    path = tmp_path / "inner.jsonl"
    assert read_lines(Inner, path) == ()
    write_lines(path, OUTER.rows)
    assert path.read_text() == '{"value": 0.3333333333333333, "name": "a"}\n{"value": 2.0, "name": "b"}\n'
    assert read_lines(Inner, path) == OUTER.rows


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "outer.json"
    write_document(path, OUTER, version=1)
    expected = f"{path}: format 1, but this version of headstart reads format 2. Do it again."
    assert refusal_of(read_document, Outer, path, version=2, remedy="Do it again.") == expected
    path.write_text(json.dumps(encode(OUTER)))
    expected = f"{path}: format none, but this version of headstart reads format 2."
    assert refusal_of(read_document, Outer, path, version=2) == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda values: values.pop("count"), "count: Field required"),
        (lambda values: values["inner"].pop("value"), "inner.value: Field required"),
        (lambda values: values["rows"][1].pop("value"), "rows.1.value: Field required"),
        (lambda values: values.update(inner=None), "inner: Input should be an object"),
        (lambda values: values["maybe"].update(value="much"), "maybe.value: Input should be a valid number"),
        (lambda values: values.update(count=1.5), "count: Input should be a valid integer"),
        (lambda values: values.update(count=3.0), "count: Input should be a valid integer"),
        (lambda values: values.update(count="3"), "count: Input should be a valid integer"),
        (lambda values: values.update(count=True), "count: Input should be a valid integer"),
        (lambda values: values["inner"].update(value=math.inf), "inner.value: Input should be a finite number"),
        (lambda values: values["inner"].update(value=math.nan), "inner.value: Input should be a finite number"),
        (lambda values: values["inner"].update(name=3), "inner.name: Input should be a valid string"),
        (lambda values: values["inner"].update(nmae="a"), "inner.nmae: Unexpected keyword argument"),
        (lambda values: values["table"].update(x=None), "table.x: Input should be a valid number"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(change, text):
    values = encode(OUTER)
    change(values)
    assert refusal_of(decode, Outer, values, "there").startswith(f"there: damaged: {text}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda values: values.update(count=4),
            "count: does not match checksums.count, so the document was changed after it was written.",
        ),
        (
            lambda values: values.update(rows=values["rows"][::-1]),
            "rows: does not match checksums.rows, so the document was changed after it was written.",
        ),
        (
            lambda values: values["maybe"].update(value=5.5),
            "maybe: does not match checksums.maybe, so the document was changed after it was written.",
        ),
        (lambda values: values.pop("maybe"), "maybe: Field required, since it is in checksums."),
        (lambda values: values.pop("checksums"), "checksums: Field required."),
        (lambda values: values["checksums"].pop("count"), "checksums.count: Field required."),
        (
            lambda values: values["checksums"].update(count=3),
            "count: does not match checksums.count, so the document was changed after it was written.",
        ),
        (lambda values: values["checksums"].update(other="00"), "other: Field required, since it is in checksums."),
    ],
)
def test_a_changed_field_of_a_document_is_named(tmp_path, change, text):
    path = tmp_path / "outer.json"
    values = encode(OUTER, version=1)
    change(values)
    path.write_text(json.dumps(values))
    assert refusal_of(read_document, Outer, path, version=1) == f"{path}: damaged: {text}"


def test_layout_and_order_of_a_document_do_not_matter(tmp_path):
    path = tmp_path / "outer.json"
    values = encode(OUTER, version=1)
    path.write_text(json.dumps(dict(reversed(values.items())), separators=(",", ":")))
    assert read_document(Outer, path, version=1) == OUTER


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"format": 1, "count": NaN}', "damaged: count: Input should be a valid integer."),
        (b'{"format": 1, "count": 3, "inner": {"value": -Infinity}}', "damaged: inner.value: Input should be a "),
        (b'{"format": NaN}', "format nan, but this version of headstart reads format 1."),
        (b"[" * 100_000, "damaged, not JSON: "),
        (b'{"format": 1, "count": 1' + b"0" * 5000 + b"}", "damaged, not JSON: "),
        (b'{"format": 1, "count": "\\ud800"}', "damaged: "),
        (b"", "damaged, not JSON: "),
        (b'{"format": 1, "count"', "damaged, not JSON: "),
        (b"[1]", "damaged: expected a JSON object, got list."),
        (b"\xff\xfe", "cannot be read: "),
    ],
)
def test_damaged_json_is_refused(tmp_path, content, text):
    path = tmp_path / "outer.json"
    path.write_bytes(content)
    assert refusal_of(read_document, Outer, path, version=1).startswith(f"{path}: {text}")


def test_a_missing_document_is_refused(tmp_path):
    path = tmp_path / "outer.json"
    assert refusal_of(read_document, Outer, path, version=1, remedy="Fit again.") == f"{path}: missing. Fit again."


def test_the_damaged_line_is_named(tmp_path):
    path = tmp_path / "inner.jsonl"
    path.write_text('{"value": 1}\n\n{"value": ')
    assert refusal_of(read_lines, Inner, path).startswith(f"{path}, line 3: damaged, not JSON: ")
    path.write_text('{"value": 1}\n{"name": "a"}\n')
    assert refusal_of(read_lines, Inner, path) == f"{path}, line 2: damaged: value: Field required."


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(tmp_path, value):
    for write in (
        lambda: write_document(tmp_path / "a", Inner(value), version=1),
        lambda: write_lines(tmp_path / "a", [Inner(value)]),
    ):
        with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
            write()
    assert list(tmp_path.iterdir()) == []


def test_the_json_schema_states_types_and_version():
    schema = json_schema(Outer, version=3)
    assert schema["properties"]["format"] == {"const": 3}
    assert schema["required"] == ["format", "count", "inner", "checksums"]
    assert schema["properties"]["count"]["type"] == "integer"
    assert schema["$defs"]["Inner"]["properties"]["value"]["type"] == "number"
    assert "format" not in json_schema(Outer)["properties"]


def test_the_schema_of_an_evaluation_has_all_fields():
    schema = json_schema(Evaluation, version=1)
    assert {"split", "top1", "per_class", "confusion_matrix", "format"} <= set(schema["required"])
    assert schema["$defs"]["Interval"]["required"] == ["value", "low", "high"]
