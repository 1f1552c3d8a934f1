"""Structures by the part of the body that they belong to, so that a hundred of them can be found.

Their names are all there is to go by: codes tell a muscle from a bone, but not a rib from a femur.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_OTHER = "other"
_PARTS = {
    "lesions": "tumor tumour cancer carcinoma lesion cyst mass metastasis metastases nodule edema "
    "aneurysm hemorrhage haemorrhage infarct stone calcification effusion",
    "heart": "heart atrium atrial ventricle myocardium cardiac pericardium valve",
    "vessels": "aorta aortic artery arteries vein veins vena cava trunk vessel vessels carotid "
    "jugular sinus",
    "spine": "vertebra vertebrae disc discs disk sacrum spine spinal coccyx",
    "ribs": "rib ribs sternum costal",
    "muscles": "muscle muscles gluteus iliopsoas psoas autochthon quadriceps sartorius deltoid "
    "trapezius pectoralis pectoral biceps triceps supraspinatus infraspinatus subscapularis "
    "latissimus rectus levator coracobrachial scalene masseter tongue thigh",
    "lungs": "lung lungs trachea bronchus bronchi bronchial airway airways pleural pleura",
    "head": "brain brainstem hippocampus thalamus cerebellum ventricles caudate putamen pallidum "
    "amygdala cortex eye eyes eyeball optic lens cochlea skull mandible maxilla parotid "
    "submandibular tooth teeth face nasal pharynx larynx pituitary chiasm callosum",
    "bones": "femur hip humerus scapula clavicle clavicula tibia fibula patella radius ulna bone "
    "bones pelvis carpal tarsal metacarpal metatarsal phalanges ilium acetabulum",
    "organs": "liver spleen kidney kidneys pancreas stomach gallbladder adrenal esophagus "
    "oesophagus duodenum colon bowel intestine rectum bladder prostate uterus ovary thyroid thymus "
    "lymph breast testis",
    "tissues": "fat subcutaneous torso skin tissue body trunc extremities",
}
GROUPS = (*_PARTS, _OTHER)
"""Keys of all groups, in the order in which they are told apart: a kidney's cyst is a lesion."""
_GROUP_OF_WORD = [(key, frozenset(words.split())) for key, words in _PARTS.items()]


def group_of(name: str) -> str:
    """Return the key of a structure's group.

    Args:
        name: Name for people or data sets, such as ``vertebrae_L1`` or ``Left kidney``.
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    return next((key for key, known in _GROUP_OF_WORD if words & known), _OTHER)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names by group; groups and names in the order in which they come first."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group_of(name), []).append(name)
    return groups
