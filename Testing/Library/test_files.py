"""Results appear whole or not at all, and nothing is replaced without being asked to."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from MISFMLib.errors import OutputError
from MISFMLib.files import check_output, remove_unfinished, write_json, written_atomically


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(".misfm"))


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    with written_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(text)


def write_folder(path: Path, name: str, *, overwrite: bool = False) -> None:
    with written_atomically(path, overwrite=overwrite) as temporary:
        temporary.mkdir()
        (temporary / name).write_text("content")


def stop_while_writing(path: Path, error: BaseException, *, overwrite: bool = False) -> None:
    with written_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "result.nii.gz"
    with written_atomically(path) as temporary:
        temporary.write_text("voxels")
        assert not path.exists()
    assert path.read_text() == "voxels"
    assert leftovers(tmp_path) == []


def test_the_temporary_name_keeps_folder_and_whole_suffix(tmp_path):
    with written_atomically(tmp_path / "case.seg.nrrd") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("case.seg.nrrd")
        assert not temporary.exists()
        temporary.write_text("")


def test_missing_parent_folders_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "table.csv", "x")
    assert (tmp_path / "a" / "b" / "table.csv").read_text() == "x"


@pytest.mark.parametrize("stop", [ZeroDivisionError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_raises(tmp_path, stop):
    with pytest.raises(stop):
        stop_while_writing(tmp_path / "result.nrrd", stop())
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_folder_is_removed_too(tmp_path):
    with pytest.raises(OutputError):
        write_folder(tmp_path / "bundle", "no/such/folder")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_is_refused_before_any_work(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(OutputError, match="exists already") as caught, written_atomically(path):
        pytest.fail("the block must not run")
    assert caught.value.code == "output-exists"
    assert "--overwrite" in caught.value.remedy
    assert path.read_text() == "old"


def test_check_output_accepts_a_free_name_and_an_allowed_replacement(tmp_path):
    check_output(tmp_path / "new", overwrite=False)
    check_output(tmp_path, overwrite=True)
    with pytest.raises(OutputError):
        check_output(tmp_path, overwrite=False)


def test_a_file_is_replaced_when_allowed(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    write(path, "new", overwrite=True)
    assert path.read_text() == "new"


def test_a_failed_replacement_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        stop_while_writing(path, ZeroDivisionError(), overwrite=True)
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_folder_replaces_a_folder_with_all_it_held(tmp_path):
    path = tmp_path / "bundle"
    write_folder(path, "old.txt")
    write_folder(path, "new.txt", overwrite=True)
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    write_folder(path, "old.txt")
    rename = Path.replace

    def refuse_the_new_one(source: Path, target: Path) -> Path:
        if (source / "new.txt").exists():
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", refuse_the_new_one)
    with pytest.raises(OutputError):
        write_folder(path, "new.txt", overwrite=True)
    assert [file.name for file in path.iterdir()] == ["old.txt"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, "disk-full", "No space is left"),
        (errno.EDQUOT, "disk-full", "No space is left"),
        (errno.EACCES, "output-not-writable", "cannot be written"),
        (errno.EROFS, "output-not-writable", "cannot be written"),
    ],
)
def test_the_systems_refusal_becomes_our_error(tmp_path, number, code, words):
    refusal = OSError(number, os.strerror(number))
    with pytest.raises(OutputError, match=words) as caught:
        stop_while_writing(tmp_path / "result.nrrd", refusal)
    assert caught.value.code == code
    assert caught.value.__cause__ is refusal
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_without_a_number_still_says_why(tmp_path):
    with pytest.raises(OutputError, match="the writer gave up"):
        stop_while_writing(tmp_path / "x", OSError("the writer gave up"))


def test_a_parent_that_is_a_file_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "file" / "result.csv", "x")
    assert caught.value.code == "output-not-writable"


def test_a_block_that_writes_nothing_is_our_error(tmp_path):
    with (
        pytest.raises(OutputError) as caught,
        written_atomically(tmp_path / "result.csv"),
    ):
        pass
    assert caught.value.code == "output-not-writable"


def test_remove_unfinished_clears_what_a_hard_stop_would_leave(tmp_path):
    writers = [written_atomically(tmp_path / name) for name in ("file.nrrd", "folder", "untouched")]
    file, folder, _ = [writer.__enter__() for writer in writers]
    file.write_text("half")
    folder.mkdir()
    (folder / "part").write_text("half")
    remove_unfinished()
    assert list(tmp_path.iterdir()) == []
    for writer in writers:
        writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def test_finished_results_are_safe_from_remove_unfinished(tmp_path):
    write(tmp_path / "result.csv", "x")
    remove_unfinished()
    assert (tmp_path / "result.csv").exists()


def test_json_is_readable_by_people_and_ends_with_a_line_break(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"name": "Größe 体积", "values": [1, 2.5, None]})
    text = path.read_text("utf-8")
    assert json.loads(text) == {"name": "Größe 体积", "values": [1, 2.5, None]}
    assert "体积" in text
    assert text.endswith("}\n")
    with pytest.raises(OutputError):
        write_json(path, {})
    write_json(path, {}, overwrite=True)
    assert path.read_text() == "{}\n"
