"""Files that are the volumes of one case, told by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISFMLib.volumes.channel_files import cases_of_files


def found(names, channels):
    cases, alone = cases_of_files([Path("/data") / name for name in names], channels)
    return {c.name: [file.name for file in c.files] for c in cases}, [file.name for file in alone]


@pytest.mark.parametrize(
    "names",
    [
        ["p1_0001.nii.gz", "p1_0000.nii.gz"],
        ["p1_T2.nii.gz", "p1_t1.nrrd"],
        ["T2-p1.nii", "T1-p1.nii"],
    ],
)
def test_the_volumes_of_a_case_come_in_the_order_of_the_channels(names):
    cases, alone = found(names, ["T1", "T2"])
    assert cases == {"p1": names[::-1]}
    assert alone == []


def test_the_longer_name_of_a_channel_wins():
    names = ["a_T1.nii", "a_T1_Gd.nii"]
    assert found(names, ["T1", "T1 Gd"])[0] == {"a": names}


def test_numbers_of_patients_are_not_taken_for_channels():
    names = ["T1_0000.nii", "T1_0001.nii", "T2_0000.nii", "T2_0001.nii"]
    cases = {"0000": names[::2], "0001": names[1::2]}
    assert found(names, ["T1", "T2"]) == (cases, [])
    both = [*names, "a_T2_0000.nii", "a_T2_0001.nii"]  # the latter as nnU-Net has them
    assert found(both, ["T1", "T2"])[0] == {**cases, "a_T2": both[4:]}


def test_what_has_no_partner_or_two_is_left_alone():
    names = ["a_T1.nii", "b_T1.nii", "b_T2.nii", "c.nii", "d_T1.nii", "d_t1.nrrd", "d_T2.nii"]
    cases, alone = found(names, ["T1", "T2"])
    assert cases == {"b": ["b_T1.nii", "b_T2.nii"]}
    assert sorted(alone) == sorted(set(names) - {"b_T1.nii", "b_T2.nii"})


def test_patients_of_one_name_in_two_folders_stay_apart():
    paths = [Path(f"/{patient}/{kind}.nii") for patient in ("x", "y") for kind in ("ct", "mr")]
    cases, alone = cases_of_files(paths, ["CT", "MR"])
    assert [case.files for case in cases] == [tuple(paths[:2]), tuple(paths[2:])]
    assert [case.name for case in cases] == ["x", "y"]
    assert alone == []


def test_with_one_channel_every_file_is_a_case():
    assert found(["a_0000.nii.gz", "b_T1.nii"], ["image"])[0] == {
        "a_0000": ["a_0000.nii.gz"],
        "b_T1": ["b_T1.nii"],
    }
