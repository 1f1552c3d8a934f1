"""What the library says, in the user's language and in the words of the panel.

The library speaks English and to people at a terminal. Here its usual messages have their wording
for the panel; one that is not here is shown as it is.
"""

from __future__ import annotations

import re

from slicer.i18n import tr as _

from .VolumeMessages import ofVolumes


def forPanel(text: str) -> str:
    """Return a message or remedy of the library as the panel shows it."""
    for pattern, wording in sorted(_wordings().items(), key=lambda each: -len(each[0])):
        match = re.fullmatch(_regex(pattern), text, re.DOTALL)
        if match is not None:
            parts = {name: forPanel(part) for name, part in match.groupdict().items()}
            return wording.format(**parts)
    return text


def _regex(pattern: str) -> str:
    """Return a regular expression for a text with ``{names}``."""
    return re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(pattern))


def _wordings() -> dict[str, str]:
    """Return what the library says, with names for what varies, and what the panel says."""
    return {**_ofRuns(), **ofVolumes(), **_ofFiles(), **_ofModels()}


def _ofRuns() -> dict[str, str]:
    return {
        # The progress of a training.
        "step {step} of {count}, loss {loss}": _("step {step} of {count}, loss {loss}"),
        "step {step}, loss {loss}": _("step {step}, loss {loss}"),
        # The worker process, as JobRunner tells of it.
        "The program that segments could not be started: {problem}.": _(
            "The program that segments could not be started: {problem}."
        ),
        "Restart Slicer; if that does not help, install the MISFM extension again.": _(
            "Restart Slicer; if that does not help, install the MISFM extension again."
        ),
        "The program that segments was ended by the system, most often for lack of memory.": _(
            "The program that segments was ended by the system, most often for lack of memory."
        ),
        "Close other programs, or segment only a region of the volume.": _(
            "Close other programs, or segment only a region of the volume."
        ),
        "The program that segments crashed ({signal}).": _(
            "The program that segments crashed ({signal})."
        ),
        "The program that segments ended without a result (exit code {code}).": _(
            "The program that segments ended without a result (exit code {code})."
        ),
        "The program that segments has told nothing for {minutes} minutes.": _(
            "The program that segments has told nothing for {minutes} minutes."
        ),
        "Try again. If it happens again, report it with Copy report.": _(
            "Try again. If it happens again, report it with Copy report."
        ),
        # Memory and devices.
        "There is too little free memory for this ({reason}).": _(
            "The computer has too little free memory for this volume."
        ),
        "{path} cannot be used: {reason}.": _("{path} cannot be used: {reason}."),
        "Check that it is there and that you may use it.": _(
            "Check that it is there and that you may use it."
        ),
        "Close other programs, crop the volume, or take smaller patches.": _(
            "Close other programs, or segment only a region: Options, Where."
        ),
        "There is too little memory for this volume.": _(
            "There is too little memory for this volume."
        ),
        "Close other programs, or use a machine with more memory.": _(
            "Close other programs, or segment only a region: Options, Where."
        ),
        "This machine has no device {device}; it has {devices}.": _(
            "This computer has no device {device}; it has {devices}."
        ),
        "Choose one of them or auto; `misfm doctor` says what is wrong with a GPU.": _(
            "Choose another device in Options."
        ),
        "{device} does not compute: {problem}.": _("{device} does not compute: {problem}."),
        "Use --device cpu; `misfm doctor` says what can be done.": _("Choose the CPU in Options."),
        "{device} does not compute in {format}; it does in {formats}.": _(
            "{device} does not compute in {format}; it does in {formats}."
        ),
        "Choose one of them or auto.": _("Choose another device in Options."),
        "The memory of the device does not suffice; trying {change}.": _(
            "The memory of the device did not suffice; tried next: {change}."
        ),
        "one window at a time": _("one window at a time"),
        "with the sums of the windows in main memory": _(
            "with the sums of the windows in main memory"
        ),
        "with smaller windows ({size} voxels), so labels may differ a little": _(
            "with smaller windows ({size} voxels), so labels may differ a little"
        ),
        "on the CPU": _("on the CPU"),
        # What the volume is like.
        "No voxel of any label was found.": _("No voxel of any label was found."),
        "TotalSegmentator looks for this task around {names} only, which {rough} finds; that is "
        "not installed (misfm models fetch {same}), so the whole volume is segmented, and "
        "structures may be found where there are none.": _(
            "This model is meant for the region around {names}. Get {rough} too, which finds that:"
            " without it structures may be found where there are none."
        ),
        "{rough} found none of {names}, around which this task looks.": _(
            "{names} were not found, around which this model looks."
        ),
        "The lowest intensity is {value}, so this does not look like CT in Hounsfield units, "
        "which the model was trained on.": _(
            "The lowest intensity is {value}, so this does not look like CT in Hounsfield units,"
            " which the model was trained on."
        ),
        "The lowest intensity is {value}, so this looks like CT; the model was trained on MR.": _(
            "The lowest intensity is {value}, so this looks like CT; the model was trained on MR."
        ),
        "The voxels are {given} mm, the model was trained on {expected} mm (depth x height x "
        "width): expect less detail or wrong labels.": _(
            "The voxels are {given} mm, the model was trained on {expected} mm (depth x height x"
            " width): expect less detail or wrong labels."
        ),
        "{volume} is constant: every voxel is {value}.": _(
            "{volume} is constant: every voxel is {value}."
        ),
        "{volume} holds NaN or infinite intensities.": _(
            "{volume} holds NaN or infinite intensities."
        ),
        "{volume} is a single slice ({size} voxels), a volume was expected.": _(
            "{volume} is a single slice ({size} voxels), a volume was expected."
        ),
        "{volume} has {count} channel(s), the model expects {expected}: {names}.": _(
            "{volume} has {count} channel(s), the model expects {expected}: {names}."
        ),
        # What is missing.
        "This step needs the package {package}, which is not installed.": _(
            "This step needs the package {package}, which is not installed."
        ),
        "Install it: pip install 'misfm[{extra}]'": _("Install it: pip install 'misfm[{extra}]'"),
        "Unexpected {kind}: {message}": _("Unexpected {kind}: {message}"),
        "Please report this with the lines above and the output of `misfm doctor`.": _(
            "Report it with Copy report."
        ),
    }


def _ofFiles() -> dict[str, str]:
    return {
        "No space is left on the disk for {path}.": _("No space is left on the disk for {path}."),
        "Free some space or choose another output folder.": _("Free some space on the disk."),
        "{path} cannot be written: {reason}.": _("{path} cannot be written: {reason}."),
        "{path} cannot be written into {folder}: {reason}.": _(
            "{path} cannot be written into {folder}: {reason}."
        ),
        "Choose a folder where you may write.": _("Choose a folder where you may write."),
        "Check the disk, or choose another output folder.": _("Free some space on the disk."),
        "{path} exists already.": _("{path} exists already."),
        "Choose another output, or allow replacing it with --overwrite.": _(
            "Remove what is there first, or choose another name."
        ),
        "{path} does not exist.": _("{path} does not exist."),
        "{path} cannot be read: {reason}.": _("{path} cannot be read: {reason}."),
        "Check that you may read it.": _("Check that you may read it."),
    }


def _ofModels() -> dict[str, str]:
    return {
        # Bundles.
        "{path} is no bundle: {reason}.": _("{path} is no model of MISFM: {reason}."),
        "Give a bundle folder or zip; convert a published .pt with `misfm convert`.": _(
            "Choose the folder or zip of a model, or a published .pt file."
        ),
        "{path} is damaged: {reason}.": _("{path} is damaged: {reason}."),
        "{path} is damaged: {file} is no JSON ({reason}).": _(
            "{path} is damaged: {file} is no JSON ({reason})."
        ),
        "Get the bundle again.": _("Get the model again."),
        "Get the bundle again; do not use this copy.": _(
            "Get the model again; do not use this copy."
        ),
        "Get the bundle again, or update MISFM.": _("Get the model again, or update MISFM."),
        "{path} lacks {file}.": _("{path} lacks {file}."),
        "{path} is not safe to read: {reason}.": _("{path} is not safe to read: {reason}."),
        "{path} holds {file}, which can run code when it is loaded.": _(
            "{path} holds {file}, which can run code when it is loaded."
        ),
        "Do not use this file; get the bundle from its authors.": _(
            "Do not use this file; get the model from its authors."
        ),
        "{path} has format {format}, this version of MISFM reads up to {newest}.": _(
            "{path} has format {format}, this version of MISFM reads up to {newest}."
        ),
        "Update MISFM.": _("Update MISFM."),
        "{model} is a start for fine-tuning and does not segment.": _(
            "{model} is for training and does not segment."
        ),
        "Fine-tune it on labelled volumes first, with `misfm finetune --init`.": _(
            "Choose another model."
        ),
        "A model cannot be installed as {name}.": _(
            "A model cannot be called {name}: a model that comes with MISFM has this name, or it"
            " has characters that are not allowed."
        ),
        "Choose another with --name: letters, digits, '.', '-' and '_', and none that a bundled "
        "model has.": _("Ask for the model under another name."),
        # Downloads.
        "{address} could not be downloaded: {reason}.": _(
            "{address} could not be downloaded: {reason}."
        ),
        "Check the network and HTTPS_PROXY, or download the file on another machine and install "
        "it with `misfm models import FILE`.": _(
            "Check the network and its proxy, or download the file on another computer and add it"
            " with Import."
        ),
        "{address} cannot be had: HTTP {status} {reason}.": _(
            "{address} cannot be had: HTTP {status} {reason}."
        ),
        "Update MISFM, its catalogue may be out of date, or import the model from a file.": _(
            "Update MISFM, its catalogue may be out of date, or add the model with Import."
        ),
        "{address} has SHA-256 {found}, expected was {expected}.": _(
            "What {address} sends is not the file that was expected: its checksum is wrong."
        ),
        "Try again later; if it stays so, report it, the file has been changed.": _(
            "Try again later; if it stays so, report it, the file has been changed."
        ),
        "{needed} MB are needed in {folder}, {free} MB are free.": _(
            "{needed} MB are needed in {folder}, {free} MB are free."
        ),
        "Free some space, or set MISFM_HOME to a folder on another disk.": _(
            "Free some space, or set MISFM_HOME to a folder on another disk."
        ),
        "Free some space, or set MISFM_HOME to a folder where you may write.": _(
            "Free some space, or set MISFM_HOME to a folder where you may write."
        ),
    }
