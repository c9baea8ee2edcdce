"""Typed documents on disk: frozen dataclasses as JSON, checked against their types when they are read.

A document states its format version. A reader refuses a document of another version instead of guessing what its
fields mean.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from headstart.errors import RunError
from headstart.files import write_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["decode", "encode", "json_schema", "read_document", "read_lines", "write_document", "write_lines"]

T = TypeVar("T")
FORMAT = "format"  # the key of the version


def encode(document: Any, *, version: int | None = None) -> dict[str, Any]:
    """A dataclass as plain JSON values, with its format version first."""
    values = asdict(document)
    return values if version is None else {FORMAT: version, **values}


def decode(kind: type[T], values: Any, where: str, *, version: int | None = None, remedy: str = "") -> T:
    """A dataclass from plain JSON values.

    :param where: the file (and line) that the values come from, for the error message.
    :param remedy: what to do about a damaged document, appended to the error message.
    :raises RunError: a field is missing or has the wrong type, or the format version is another.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise RunError(f"{where}: damaged: expected a JSON object, got {type(values).__name__}. {remedy}".strip())
    if version is not None and values.get(FORMAT) != version:
        found = values.get(FORMAT, "none")
        raise RunError(
            f"{where}: format {found}, but this version of headstart reads format {version}. {remedy}".strip()
        )
    fields = {name: value for name, value in values.items() if name != FORMAT}
    try:
        made: T = _adapter(cast(Hashable, kind)).validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise RunError(f"{where}: damaged: {place}: {first['msg']}. {remedy}".strip()) from error
    return made


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


def json_schema(kind: type[Any], *, version: int | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document."""
    schema: dict[str, Any] = _adapter(cast(Hashable, kind)).json_schema()
    if version is not None:
        schema["properties"] = {FORMAT: {"const": version}, **schema["properties"]}
        schema["required"] = [FORMAT, *schema.get("required", [])]
    return schema


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # here, since it takes a tenth of a second to import

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
    except ValueError as error:
        raise RunError(f"{where}: damaged, not JSON: {error}. {remedy}".strip()) from error
