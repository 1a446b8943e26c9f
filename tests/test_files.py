"""Files are whole or absent."""

import os
from pathlib import Path

import pytest
from typing_extensions import TypedDict

from gan_cli.files import atomic, read_json, write_json


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def fail() -> None:
        with atomic(target) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    write_json(target, {"a": 1})
    write_json(target, {"a": 2})
    assert target.read_text() == '{\n  "a": 2\n}\n'
    assert list(tmp_path.iterdir()) == [target]


class Point(TypedDict):
    step: int
    scores: dict[str, float]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"step": 1, "scores": {"fid": 1}}', ""),
        (b'{"step": 1.5, "scores": {}}', "step: Input should be a valid integer"),
        (b'{"step": true, "scores": {}}', "step: Input should be a valid integer"),
        (b'{"step": 1, "scores": {"fid": "1"}}', "scores.fid: Input should be a valid number"),
        (b'{"step": 1}', "scores: Field required"),
        (b'{"step": 1, "scores": {"\\u001b[31m": null}}', r"scores.\\x1b\[31m: "),
        (b"[" * 100_000, "recursion limit"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"step": ' + b"1" * 10_000 + b', "scores": {}}', "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b" " * 201, "has more than 200 bytes"),
    ],
)
def test_json_of_another_type_is_named_in_one_line(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    if not problem:
        assert read_json(tmp_path / "a.json", Point, 200) == {"step": 1, "scores": {"fid": 1.0}}
        return
    with pytest.raises(ValueError, match=problem) as refusal:
        read_json(tmp_path / "a.json", Point, 200 if content.isspace() else 1_000_000)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) <= 500


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="is not a file"):
        read_json(tmp_path / "a.json", Point)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent.json", Point)
