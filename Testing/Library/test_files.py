"""Results appear whole or not at all, and nothing is replaced without being asked to."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from MISFMLib.errors import DataError, OutputError
from MISFMLib.files import (
    check_output,
    read_json,
    read_text,
    remove_unfinished,
    write_bytes,
    write_json,
    written_atomically,
)
from MISFMLib.replacing import finish_replacements, remove_left

REPOSITORY = Path(__file__).resolve().parents[2]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(".misfm"))


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    with written_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(text)


def foreign(folder: Path) -> str:
    others = [path.name for path in folder.iterdir() if path.suffix != ".txt"]
    return f"it holds {others[0]}" if others else ""


def write_folder(path: Path, name: str, *, overwrite: bool = False) -> None:
    with written_atomically(path, overwrite=overwrite, foreign=foreign) as temporary:
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


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("case.seg.nrrd", ".seg.nrrd"),
        ("case.2024.nii.gz", ".nii.gz"),
        ("Case Nr. 12 of Dr. Sample.mha", ".mha"),
        ("bundle", ""),
    ],
)
def test_the_temporary_name_keeps_folder_and_suffix(tmp_path, name, suffix):
    with written_atomically(tmp_path / name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(suffix)
        assert len(temporary.name) == len(".misfm-01234567") + len(suffix)
        assert not temporary.exists()
        temporary.write_text("")


@pytest.mark.parametrize("name", ["n" * 240 + ".seg.nrrd", "\N{CJK UNIFIED IDEOGRAPH-4F53}" * 80])
def test_the_longest_names_that_the_file_system_allows_are_written(tmp_path, name):
    write(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


def test_a_name_that_is_too_long_is_our_error(tmp_path):
    with pytest.raises(OutputError) as caught:
        write(tmp_path / ("n" * 300), "x")
    assert caught.value.code == "output-not-writable"
    assert "shorter name" in caught.value.remedy


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
    (tmp_path / "table.csv").write_text("old")
    check_output(tmp_path / "table.csv", overwrite=True)
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


@pytest.mark.parametrize("as_what", ["folder", "file"])
def test_a_folder_that_is_none_of_ours_is_never_replaced(tmp_path, as_what):
    holiday = tmp_path / "pictures" / "holiday.png"
    holiday.parent.mkdir()
    holiday.write_text("sea")
    write_anything = write_folder if as_what == "folder" else write
    with pytest.raises(OutputError) as caught:
        write_anything(tmp_path / "pictures", "new.txt", overwrite=True)
    assert caught.value.code == "output-not-ours"
    assert holiday.read_text() == "sea"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_neither_replaced_nor_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="device or a pipe"):
        write(tmp_path / "pipe", "x", overwrite=True)
    with pytest.raises(OSError, match="a pipe or device"):
        read_text(tmp_path / "pipe")


def test_what_the_disk_does_not_hold_as_written_is_our_error(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("old")
    monkeypatch.setattr(Path, "read_bytes", lambda _path: b"")
    with pytest.raises(OutputError, match="something else than what was written"):
        write_bytes(tmp_path / "table.csv", b"new", overwrite=True)
    assert (tmp_path / "table.csv").read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_check_of_the_writer_decides(tmp_path):
    def check(path: Path) -> None:
        raise OSError(errno.EIO, f"{path.read_text()} is cut")

    with (
        pytest.raises(OutputError, match="half is cut"),
        written_atomically(tmp_path / "result.nrrd", check=check) as temporary,
    ):
        temporary.write_text("half")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"{", b""])
def test_json_of_any_content_is_read_or_refused(tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(DataError, match=r"settings\.json cannot be read") as caught:
        read_json(tmp_path / "settings.json", DataError, code="bad-settings", remedy="Remove it.")
    assert caught.value.code == "bad-settings"


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "settings.json").write_bytes(b'\xef\xbb\xbf{"steps": 3}')
    content = read_json(tmp_path / "settings.json", DataError, code="bad", remedy="")
    assert content == {"steps": 3}


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


KILLED = """
import os, sys
from pathlib import Path
from MISFMLib.files import written_atomically
from MISFMLib.replacing import set_owner
set_owner("me")
rename, left = Path.replace, [int(sys.argv[2])]
def replace(source, target):
    if not left[0]:
        os._exit(9)  # as a kill: nothing is tidied up
    left[0] -= 1
    return rename(source, target)
Path.replace = replace
path = Path(sys.argv[1])
with written_atomically(path, overwrite=True, foreign=lambda _folder: "") as temporary:
    temporary.mkdir()
    (temporary / "new.txt").touch()
"""


@pytest.mark.parametrize(
    "look", [finish_replacements, lambda folder: remove_left(folder, {"me"})], ids=["any", "job"]
)
@pytest.mark.parametrize(("renames", "kept"), [(0, "old.txt"), (1, "new.txt")])
def test_a_folder_whose_replacement_was_killed_is_there_the_next_time(
    tmp_path, renames, kept, look
):
    path = tmp_path / "bundle"
    write_folder(path, "old.txt")
    command = [sys.executable, "-c", KILLED, str(path), str(renames)]
    assert subprocess.run(command, check=False, cwd=REPOSITORY).returncode == 9
    look(tmp_path)
    assert [file.name for file in path.iterdir()] == [kept]
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_a_replacement_that_runs_is_left_alone(tmp_path):
    path = tmp_path / "bundle"
    write_folder(path, "old.txt")
    rename = Path.replace

    def look_between(source: Path, target: Path) -> Path:
        result = rename(source, target)
        finish_replacements(tmp_path)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", look_between)
        write_folder(path, "new.txt", overwrite=True)
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


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


def test_a_disk_that_takes_a_part_of_an_array_is_full(tmp_path):
    with pytest.raises(OutputError) as caught:
        stop_while_writing(tmp_path / "x", OSError("73728 requested and 40896 written"))
    assert caught.value.code == "disk-full"


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
