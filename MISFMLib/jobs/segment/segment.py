"""``misfm segment``: volumes on disk, a model, label maps on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from MISFMLib.configs import SegmentConfig
from MISFMLib.errors import BundleError, JobCancelled
from MISFMLib.events import CaseDone, EventSink, Measured, ignore_events
from MISFMLib.export.statistics import write_statistics
from MISFMLib.jobs.segment.batch import Here, Listen, run_batch
from MISFMLib.jobs.segment.batch_job import BatchJob, Outcome
from MISFMLib.jobs.segment.plan import SegmentCase, plan_cases
from MISFMLib.jobs.segment.review import check_review, with_reports
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model

if TYPE_CHECKING:  # torch, which whoever hands cases out to others does without
    from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions

    SegmenterLoader = Callable[[Bundle, SegmenterOptions], Segmenter]


def run_segment(
    config: SegmentConfig,
    events: EventSink = ignore_events,
    load_segmenter: SegmenterLoader | None = None,
) -> dict[str, Any]:
    """Segment one volume to a file, or any number of volumes to a folder.

    Everything that can be checked without computing is checked first. A folder is a batch: cases
    whose label map is there are skipped unless `config.overwrite`, a case that fails does not stop
    the others, and cases.csv tells what became of each.

    Args:
        config: The job.
        events: Hears progress, notices and the end of every case.
        load_segmenter: Loads the model; for callers that keep it loaded.

    Returns:
        The report of the case or of the batch; its key ``text`` holds a summary for people.

    Raises:
        MISFMError: The model, an option or the only case cannot be used.
        BatchError: Cases of a batch failed; the others were finished.
    """
    bundle = find_model(config.model)
    check_segments(bundle)
    config = with_reports(config)
    plan = plan_cases(config, len(bundle.manifest.preprocessing.channels))
    check_review(config, plan)
    if plan.folder is not None:
        return run_batch(config, bundle, plan, _batch_here(config, load_segmenter), events)
    return _run_single(config, bundle, plan.cases[0], load_segmenter, events)


def load_model(
    config: SegmentConfig,
    load_segmenter: SegmenterLoader,
    is_wanted: Callable[[], bool] | None = None,
) -> Iterator[Measured | None]:
    """Load the model of a job that may follow, without looking at its volumes.

    Args:
        config: The job.
        load_segmenter: Loads the model and keeps it for the job.
        is_wanted: When given, a window is measured at the end, unless this says meanwhile that a
            job waits.

    Yields:
        None before each step, so that whoever is in a hurry can stop there; at last what was
        measured.

    Raises:
        MISFMError: The model or an option cannot be used.
    """
    from MISFMLib.device import set_threads
    from MISFMLib.inference.window_time import InterruptedMeasurementError
    from MISFMLib.jobs.segment.worker import options_of
    from MISFMLib.memory import peak_memory_bytes

    yield None
    bundle = find_model(config.model)
    check_segments(bundle)
    set_threads(config.threads)
    segmenter = load_segmenter(bundle, options_of(config, bundle))
    yield None
    segmenter.load_engine()
    if is_wanted is not None:
        yield None
        with contextlib.suppress(InterruptedMeasurementError):
            figures = segmenter.measure_window(is_wanted)
            yield Measured(
                config.model,
                figures.device,
                figures.engine,
                figures.seconds,
                figures.device_peak_bytes or peak_memory_bytes(),
                figures.can_convert,
            )


def check_segments(bundle: Bundle) -> None:
    """Refuse a bundle that is only a start for fine-tuning.

    Raises:
        BundleError: It is one.
    """
    if bundle.manifest.kind != "segmentation":
        raise BundleError(
            f"{bundle.manifest.name} is a start for fine-tuning and does not segment.",
            code="not-for-segmentation",
            remedy="Fine-tune it on labelled volumes first, with `misfm finetune --init`.",
        )


def _batch_here(config: SegmentConfig, load_segmenter: SegmenterLoader | None) -> Here:
    """Return what works on the cases of a batch in this process."""

    def here(job: BatchJob, cases: Sequence[SegmentCase], listen: Listen) -> Iterator[Outcome]:
        from MISFMLib.jobs.segment.worker import open_worker

        options = {} if load_segmenter is None else {"load_segmenter": load_segmenter}
        with open_worker(job, config.threads, events=listen("batch"), **options) as worker:
            for case in cases:
                events = listen(case.name)
                try:
                    yield worker.run(case, events)
                except (JobCancelled, KeyboardInterrupt):
                    with contextlib.suppress(JobCancelled):  # nobody listens any more
                        events(CaseDone(case.name, "cancelled", "It was not finished."))
                    raise

    return here


def _run_single(
    config: SegmentConfig,
    bundle: Bundle,
    case: SegmentCase,
    load_segmenter: SegmenterLoader | None,
    events: EventSink,
) -> dict[str, Any]:
    from MISFMLib.device import set_threads
    from MISFMLib.inference.segmenter import Segmenter
    from MISFMLib.jobs.segment.case import CaseRunner
    from MISFMLib.jobs.segment.region import RegionFirst
    from MISFMLib.jobs.segment.worker import options_of

    set_threads(config.threads)
    options = options_of(config, bundle)
    segmenter = (load_segmenter or Segmenter.from_bundle)(bundle, options)
    region_first = RegionFirst(options)
    runner = CaseRunner(config, bundle.manifest, segmenter, region_first, config.overwrite)
    result = runner.run(case, events)
    if config.statistics is not None:
        volumes = {case.name: result.volumes}
        write_statistics(config.statistics, volumes, overwrite=config.overwrite)
    events(CaseDone(case.name, "done", outputs=result.outputs))
    lines = [f"{item.name:32} {item.volume_ml:10.2f} ml" for item in result.volumes]
    lines += [_line_of_place(place) for place in result.report.get("where_to_look", [])[:3]]
    text = "\n".join([*lines, f"Written to {case.output}"])
    return {**result.report, "seconds": round(result.seconds, 3), "text": text}


def _line_of_place(place: dict[str, Any]) -> str:
    position = ", ".join(f"{number:.1f}" for number in place["position_xyz"])
    return f"Look at {position} mm (LPS): {' or '.join(place['labels'])}?"
