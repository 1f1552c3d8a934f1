"""Codes and colours of labels."""

from __future__ import annotations

import colorsys
import itertools
import re

import pytest

from MISFMLib.configs import Code, LabelConfig
from MISFMLib.models.terminology import label_config, listed

GENERAL = "Segmentation category and type - 3D Slicer General Anatomy list"
DICOM = "Segmentation category and type - DICOM master list"
TOTALSEGMENTATOR = re.findall(
    r"\w+",
    """
spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right
adrenal_gland_left lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right
lung_middle_lobe_right lung_lower_lobe_right esophagus trachea thyroid_gland small_bowel duodenum
colon urinary_bladder prostate kidney_cyst_left kidney_cyst_right sacrum vertebrae_S1 vertebrae_L5
vertebrae_T12 vertebrae_C1 heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right
common_carotid_artery_left brachiocephalic_vein_left atrial_appendage_left superior_vena_cava
inferior_vena_cava portal_vein_and_splenic_vein iliac_artery_left iliac_vena_right humerus_left
scapula_right clavicula_left femur_right hip_left spinal_cord gluteus_maximus_left
gluteus_medius_right gluteus_minimus_left autochthon_left iliopsoas_right brain skull rib_left_1
rib_right_12 sternum costal_cartilages lung_left intervertebral_discs quadriceps_femoris_left
sartorius_right tibia fibula patella vertebrae thigh_medial_compartment_left
""",
)


@pytest.mark.parametrize(
    ("name", "code", "modifier", "terminology"),
    [
        ("liver", "10200004", None, GENERAL),
        ("Liver", "10200004", None, GENERAL),
        ("left_kidney", "64033007", "Left", GENERAL),
        ("kidney_R", "64033007", "Right", GENERAL),
        ("KidneyRight", "64033007", "Right", GENERAL),
        ("Kidneys", "64033007", None, GENERAL),
        ("left lung upper lobe", "45653009", "Left", GENERAL),
        ("anterior hippocampus", "5366008", None, DICOM),
        ("hippocampus, left", "5366008", "Left", DICOM),
        ("left atrium", "82471001", None, DICOM),
        ("right parotid gland", "45289007", "Right", DICOM),
        ("oesophagus", "32849002", None, GENERAL),
        ("Tumour", "108369006", None, DICOM),
        ("liver_tumor", "108369006", None, DICOM),
        ("lung nodules", "27925004", None, DICOM),
        ("rib_left_1", "113197003", "Left", DICOM),
        ("vertebrae_L5", "51282000", None, DICOM),
        ("iliac_vena_left", "46027005", "Left", DICOM),
        ("bone", "272673000", None, GENERAL),
        ("optic nerve", "25238003", None, GENERAL),
    ],
)
def test_common_names_have_their_code(name, code, modifier, terminology):
    label = label_config(1, name)

    assert label.name == name
    assert (label.type.value, label.type.scheme) == (code, "SCT")
    assert (label.modifier.meaning if label.modifier else None) == modifier
    assert listed(label) == (terminology, label.modifier)


@pytest.mark.parametrize("name", TOTALSEGMENTATOR)
def test_the_classes_of_totalsegmentator_are_known(name):
    assert label_config(1, name).type.meaning != "Tissue"


def test_a_side_that_no_list_has_stands_in_the_name_alone():
    """Slicer's lists know one kind of spleen; a side there would be shown as none."""
    label = label_config(1, "left spleen")
    assert (label.type.meaning, label.modifier) == ("Spleen", None)


def test_of_a_model_from_elsewhere_a_modifier_that_no_list_has_is_left_out():
    anterior = Code("255549009", "SCT", "Anterior")
    label = LabelConfig(
        value=1,
        name="anterior hippocampus",
        category=Code("123037004", "SCT", "Anatomical Structure"),
        type=Code("5366008", "SCT", "Hippocampus"),
        modifier=anterior,
    )
    assert listed(label) == (DICOM, None)
    unknown = LabelConfig(value=1, name="x", type=Code("1", "99X", "X"), modifier=anterior)
    assert listed(unknown) == (GENERAL, anterior)


def test_categories_follow_the_kind_of_structure():
    assert label_config(1, "spleen").category.meaning == "Anatomical Structure"
    assert label_config(1, "bone").category.meaning == "Tissue"
    assert label_config(1, "edema").category.meaning == "Morphologically Altered Structure"


@pytest.mark.parametrize("name", ["left thing", "", "1", "left", "肝", "LA"])
def test_unknown_names_are_tissue(name):
    label = label_config(4, name)
    assert label.type.meaning == label.category.meaning == "Tissue"
    assert label.modifier is None


def test_neighbouring_labels_have_colours_far_apart():
    colors = [label_config(value, "x").color for value in range(1, 62)]

    assert len(set(colors)) == 61
    for first, second in itertools.pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 80


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("liver", (221, 130, 101)),
        ("Spleen", (157, 108, 162)),
        ("kidney_right", (185, 102, 83)),
        ("left kidney", (185, 102, 83)),
    ],
)
def test_structures_have_their_colours_of_slicer(name, color):
    assert label_config(7, name).color == color


def test_what_has_one_code_together_has_shades_of_its_colour():
    colors = [label_config(91 + number, f"rib_left_{number}").color for number in range(1, 13)]
    assert len(set(colors)) == len(colors)
    for first, second in itertools.pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 15
        hues = [colorsys.rgb_to_hsv(*(part / 255 for part in each))[0] for each in (first, second)]
        assert hues[0] == pytest.approx(hues[1], abs=0.02)
