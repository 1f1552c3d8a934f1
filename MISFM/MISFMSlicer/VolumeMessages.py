"""What the library says of the volumes that a job was handed, in the words of the panel."""

from __future__ import annotations

from slicer.i18n import tr as _


def ofVolumes() -> dict[str, str]:
    """Return what is said of the volumes that a job was handed."""
    return {
        "Export the image again.": _("Choose another volume, or load this one again."),
        "Replace them, for example by the intensity of air, and save it again.": _(
            "Replace them first, for example with the module Threshold Scalar "
            "Volume, or choose another volume."
        ),
        "Give the whole volume; for DICOM give the folder of the series.": _(
            "Load the whole series, or choose another volume."
        ),
        "Give one file per channel, joined by commas, in this order; in a folder name them "
        "case_0000, case_0001, …": _("Choose one volume for each channel, or another model."),
        "{volume} has the voxel size {size} mm, it must be above zero on each axis.": _(
            "{volume} has the voxel size {size} mm, it must be above zero on each axis."
        ),
        "Correct its spacing in 3D Slicer, or convert the original files again.": _(
            "Correct its spacing in the module Volumes, or load the original files again."
        ),
        "{volume} has axes that no regular grid has: they are {tilt} degrees "
        "off the right angle (as after a scan with tilted gantry) and {lengths} "
        "long instead of 1.": _(
            "{volume} lies on no regular grid: its axes are {tilt} degrees off the "
            "right angle, as after a scan with tilted gantry."
        ),
        "Resample it onto a regular grid first: in 3D Slicer load it, then use Crop Volume with "
        "interpolated cropping.": _(
            "Resample it with Crop Volume, with interpolated cropping, and segment the result."
        ),
        "Correct its voxel size in 3D Slicer (module Volumes), in millimetres.": _(
            "Correct its spacing in the module Volumes, in millimetres."
        ),
        "{volume} holds no voxels: its size is {size}.": _(
            "{volume} holds no voxels: its size is {size}."
        ),
        "{volume} is incomplete: {reason}.": _(
            "{volume} was not handed over completely: {reason}."
        ),
        "Copy or download the file again.": _(
            "Try again; is there space on the disk for temporary files?"
        ),
        "{volume} is no image that can be read: {reason}.": _(
            "{volume} cannot be handed over: {reason}."
        ),
        "Open it in the program that made it and save it as .nii.gz or .nrrd.": _(
            "Save it as .nrrd, load it again, and segment that."
        ),
        "{volume} has more than three dimensions ({size}), one volume was expected.": _(
            "{volume} has more than three dimensions ({size}), one volume was expected."
        ),
        "Save the wanted frame, or each channel, as a file of its own; the "
        "channels of one case are given joined by commas.": _(
            "Choose the wanted frame, or each channel, as a volume of its own."
        ),
        "Check the name and the folder.": _("Try again; another program may have removed it."),
        "The channels {first} and {second} lie on different grids: {difference}.": _(
            "The channels {first} and {second} lie on different grids: {difference}."
        ),
        "Resample them to one grid first.": _(
            "Resample one onto the other first, for example with the module "
            "Resample Image (BRAINS)."
        ),
        "The network's answer holds values that are not finite.": _(
            "The network's answer holds values that are not finite."
        ),
        "Use --precision fp32; if that does not help, check `misfm models verify`.": _(
            "Choose another device in Options; if that does not help, get the model again."
        ),
        "The network has {count} classes, the model names {expected} with what "
        "is none of its labels.": _(
            "The network has {count} classes, the model names {expected} with what "
            "is none of its labels."
        ),
        "The model is damaged or was put together wrongly; get it again.": _(
            "The model is damaged or was put together wrongly; get it again."
        ),
        "{failed} of {count} cases failed ({reasons}{more}).": _(
            "{failed} of {count} frames failed ({reasons}{more})."
        ),
        "See {table}; the same command tries only these again.": _(
            "Segment the other frames one by one, without All frames."
        ),
    }
