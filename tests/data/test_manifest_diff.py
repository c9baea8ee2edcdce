"""Files that changed, are gone, are new or were moved since a manifest was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.manifest_diff import ManifestDiff, compare


def manifest(contents: dict[str, str | None]) -> Manifest:
    return Manifest.from_rows(list(contents)).with_column("hash", contents.values())


Contents = st.dictionaries(st.sampled_from([f"/{name}.jpg" for name in "abcdefgh"]), st.sampled_from([*"12345", None]))


@given(Contents, Contents)
def test_each_image_is_counted_once(before: dict[str, str | None], now: dict[str, str | None]) -> None:
    found = compare(manifest(before), manifest(now))
    old, new = [uri for uri, _ in found.moved], [uri for _, uri in found.moved]
    assert all(before[one] == now[other] is not None for one, other in found.moved)
    assert sorted([*found.new, *new]) == sorted(now.keys() - before.keys())
    assert set(found.gone) | set(old) >= before.keys() - now.keys()
    for names in (found.changed, [*found.gone, *old], [*found.new, *new]):
        assert len(set(names)) == len(names)
    for uri in found.changed:
        assert None not in (before[uri], now[uri])
        assert before[uri] != now[uri]
    same = [uri for uri in before if before[uri] == now.get(uri, "") and before[uri]]
    assert not {*found.changed, *found.gone, *found.new, *old} & set(same)


def test_files_on_disk(photo: Callable[..., Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    paths = [photo(f"photos/cats/{name}.jpg", shade) for shade, name in enumerate("abcde")]
    before = inspect_all(Manifest.from_rows(paths))
    before.write(tmp_path / "before.parquet")
    content = bytearray(paths[0].read_bytes())
    content[-20] ^= 1
    paths[0].write_bytes(content)
    paths[1].unlink()
    paths[2].rename(paths[2].with_name("z.jpg"))
    photo("photos/dogs/new.jpg", 99)
    words = ("check", tmp_path / "photos", "--no-features", "--out", tmp_path / "out")
    words = (*words, "--against", tmp_path / "before.parquet")
    code, out, _ = run(*words)
    assert code == 0
    folder = tmp_path / "photos" / "cats"
    assert out.splitlines()[-5:] == [
        "1 changed since, 1 gone, 1 new, 1 moved",
        f"changed since: {folder / 'a.jpg'}",
        f"gone: {folder / 'b.jpg'}",
        f"new: {tmp_path / 'photos' / 'dogs' / 'new.jpg'}",
        f"moved: {folder / 'c.jpg'} -> {folder / 'z.jpg'}",
    ]
    code, out, _ = run(*words[:-1], tmp_path / "out" / "manifest.parquet")  # which the same command overwrites
    assert out.splitlines()[-1:] == ["no image has changed, is gone or is new"]


def test_long_lists_are_shortened() -> None:
    found = ManifestDiff(new=tuple(f"/{number}.jpg" for number in range(25)))
    lines = found.lines()
    assert len(lines) == 22
    assert lines[-1] == "new: and 5 more"
