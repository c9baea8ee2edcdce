"""Typed documents on disk: frozen dataclasses as JSON, checked against their types when they are read.

A document states its format version, and a checksum of each of its fields. A reader refuses a document of another
version instead of guessing what its fields mean, and one that was changed after it was written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from headstart.errors import RunError
from headstart.files import write_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "csv_cell",
    "decode",
    "encode",
    "file_checksum",
    "json_schema",
    "read_document",
    "read_lines",
    "write_document",
    "write_lines",
]

T = TypeVar("T")
FORMAT = "format"  # the key of the version
CHECKSUMS = "checksums"

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def encode(document: Any, *, version: int | None = None) -> dict[str, Any]:
    """A dataclass as plain JSON values; with a version, between the version and the checksum of each field."""
    values = asdict(document)
    return values if version is None else {FORMAT: version, **values, CHECKSUMS: _checksums(values)}


def decode(kind: type[T], values: Any, where: str, *, version: int | None = None, remedy: str = "") -> T:
    """A dataclass from plain JSON values. Types are taken strictly: "2", 2.0 and true are no integers.

    With a version, an unknown key is an error, and each field is compared with its checksum.

    :param where: the file (and line) that the values come from, for the error message.
    :param remedy: what to do about a damaged document, appended to the error message.
    :raises RunError: a field is missing, unknown, of the wrong type or out of range, it was changed after the document
        was written, or the format version is another.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise RunError(f"{where}: damaged: expected a JSON object, got {type(values).__name__}. {remedy}".strip())
    if version is not None and values.get(FORMAT) != version:
        found = values.get(FORMAT, "none")
        raise RunError(
            f"{where}: format {found}, but this version of headstart reads format {version}. {remedy}".strip()
        )
    known = {each.name for each in dataclass_fields(cast(Any, kind))}
    own = {FORMAT, CHECKSUMS} if version is not None else set(values) - known
    fields = {name: value for name, value in values.items() if name not in own}
    try:
        # As JSON, in which strict types allow for what JSON lacks: a list for a tuple, an object for a dataclass.
        made: T = _adapter(cast(Hashable, kind)).validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")  # that of a __post_init__, which names the field itself
        names_field = first["type"] == "value_error" and not place
        text = reason if names_field else f"{place or 'the document'}: {reason}"
        raise RunError(f"{where}: damaged: {text}. {remedy}".strip()) from error
    if version is not None and (mistake := _mistake_in_checksums(fields, values.get(CHECKSUMS))):
        raise RunError(f"{where}: damaged: {mistake}. {remedy}".strip())
    return made


def _checksums(values: Mapping[str, Any]) -> dict[str, str]:
    """The BLAKE2b of each value as canonical JSON, 16 hexadecimal digits."""
    texts = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    return {name: hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for name, text in texts.items()}


def _mistake_in_checksums(fields: Mapping[str, Any], checksums: Any) -> str | None:
    """What does not match the checksums that the document states; None if all fields do."""
    if not isinstance(checksums, dict):
        return f"{CHECKSUMS}: Field required"
    missing = [name for name in checksums if name not in fields]
    if missing:
        return f"{missing[0]}: Field required, since it is in {CHECKSUMS}"
    for name, found in _checksums(fields).items():
        if name not in checksums:
            return f"{CHECKSUMS}.{name}: Field required"
        if checksums[name] != found:
            return f"{name}: does not match {CHECKSUMS}.{name}, so the document was changed after it was written"
    return None


def write_document(path: Path, document: Any, *, version: int) -> None:
    """Write a dataclass as indented JSON. NaN and infinity are refused, since JSON has neither."""
    text = json.dumps(encode(document, version=version), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_document(kind: type[T], path: Path, *, version: int, remedy: str = "") -> T:
    """Read what :func:`write_document` wrote.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return decode(kind, _json(_text(path, remedy), str(path), remedy), str(path), version=version, remedy=remedy)


def write_lines(path: Path, documents: Any) -> None:
    """Write dataclasses as JSON Lines."""
    lines = (json.dumps(encode(each), ensure_ascii=False, allow_nan=False) + "\n" for each in documents)
    write_text(path, "".join(lines))


def read_lines(kind: type[T], path: Path, *, remedy: str = "") -> tuple[T, ...]:
    """Read what :func:`write_lines` wrote; nothing where there is no such file.

    :raises RunError: a line is damaged; the message names it.
    """
    if not path.exists():
        return ()
    rows = ((f"{path}, line {number}", line) for number, line in enumerate(_text(path, remedy).splitlines(), 1))
    return tuple(decode(kind, _json(line, where, remedy), where, remedy=remedy) for where, line in rows if line.strip())


def csv_cell(text: str) -> str:
    """A text as a cell of a CSV file that a spreadsheet does not run as a formula.

    An apostrophe is put before ``=``, ``+``, ``-``, ``@``, tab and carriage return, as OWASP advises (CSV injection).
    Numbers, and paths, which are absolute, stay as they are.

    >>> [csv_cell(text) for text in ("cat", "/photos/=1.jpg", "-1", "=1+1", "@sum", "-x")]
    ['cat', '/photos/=1.jpg', '-1', "'=1+1", "'@sum", "'-x"]
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def file_checksum(path: Path) -> str:
    """The BLAKE2b of a file's bytes, 32 hexadecimal digits: how a document names the files that belong to it.

    :raises OSError: the file cannot be read.
    """
    total = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def json_schema(kind: type[Any], *, version: int | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document."""
    schema: dict[str, Any] = _adapter(cast(Hashable, kind)).json_schema()
    if version is not None:
        texts = {"type": "object", "additionalProperties": {"type": "string"}}
        schema["properties"] = {FORMAT: {"const": version}, **schema["properties"], CHECKSUMS: texts}
        schema["required"] = [FORMAT, *schema.get("required", []), CHECKSUMS]
    return schema


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter  # here, since it takes a tenth of a second to import

    # Where pydantic looks for the configuration of a standard dataclass; the dataclasses in it inherit it.
    cast(Any, kind).__pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    return TypeAdapter(cast(Any, kind))


def _text(path: Path, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{path}: missing. {remedy}".strip()) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {error}. {remedy}".strip()) from error


def _json(text: str, where: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: damaged, not JSON: {error}. {remedy}".strip()) from error
