"""All groups of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import faults_in_files
import faults_in_models
import faults_in_options
import faults_in_outputs
import faults_in_runs
from cases import Case

GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "options": faults_in_options.options,
    "jobs": faults_in_options.job_files,
    "lines": faults_in_options.lines,
    "volumes": faults_in_files.volumes,
    "folders": faults_in_files.folders,
    "data sets": faults_in_files.data_sets,
    "models": faults_in_models.models,
    "outputs": faults_in_outputs.outputs,
    "streams": faults_in_outputs.streams,
    "runs": faults_in_runs.runs,
    "stores": faults_in_runs.stores,
}
