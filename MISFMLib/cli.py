"""The ``misfm`` command: arguments become a config, the config goes to a job, events come out.

Exit codes: 0 done; 1 unexpected error; 2 wrong option; 3 volume or data set; 4 model; 5 output;
6 device or memory; 7 missing package; 8 some cases of a batch failed; 9 training; 130 cancelled;
141 nobody reads the output any more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

import MISFMLib
from MISFMLib.commands.base import read_job
from MISFMLib.commands.cohorts import Benchmark, Collect, Evaluate, Networks, Review
from MISFMLib.commands.console import ConsoleEvents, JsonEvents
from MISFMLib.commands.failures import asks_for_json, failure, known_error
from MISFMLib.commands.interrupt import prompt_interrupt
from MISFMLib.commands.jobs import (
    Convert,
    Demo,
    Doctor,
    Finetune,
    Prepare,
    Pretrain,
    Quantize,
    Run,
    Segment,
    Serve,
    preset_defaults,
)
from MISFMLib.commands.models import Models
from MISFMLib.commands.recipes import Recipes
from MISFMLib.errors import JobCancelled, MISFMError, OutputError
from MISFMLib.events import EventSink, Failed, Finished
from MISFMLib.files import remove_unfinished

COMMANDS: dict[str, Any] = {
    "segment": Segment,
    "finetune": Finetune,
    "prepare": Prepare,
    "pretrain": Pretrain,
    "quantize": Quantize,
    "collect": Collect,
    "evaluate": Evaluate,
    "benchmark": Benchmark,
    "networks": Networks,
    "review": Review,
    "models": Models,
    "recipes": Recipes,
    "convert": Convert,
    "demo": Demo,
    "doctor": Doctor,
    "run": Run,
    "serve": Serve,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``misfm``; those of the process when not given.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"misfm {MISFMLib.__version__}")
        return 0
    # One stream of events leaves a training, however many processes torchrun or SLURM started.
    wants_json = asks_for_json(words) and not _follows(words)
    events = JsonEvents() if wants_json else ConsoleEvents()

    def last_words() -> None:
        remove_unfinished()
        events(failure(JobCancelled()))

    # A training may finish its step and save itself; everything else stops at once.
    grace_s = 20.0 if _trains(words) else 0.7
    try:
        with prompt_interrupt(grace_s, last_words, JobCancelled.exit_code):
            report = _read(words).run(events)
    except SystemExit as stop:  # tyro has shown the help, or what is wrong with the arguments
        if stop.code and wants_json:
            events(Failed("The arguments are wrong; stderr says how.", "bad-option"))
        raise
    except BrokenPipeError:
        raise  # There is nobody to tell.
    except (Exception, KeyboardInterrupt) as error:  # the one place that catches everything
        return _end_badly(events, error)
    text, exit_code = report.pop("text", ""), report.pop("exit_code", 0)
    events(Finished(report))
    if text and not wants_json:
        print(text)
    return int(exit_code)


def _read(words: Sequence[str]) -> Any:
    """Read the command and its options."""
    if words and words[0] in COMMANDS:  # without the options of all the others: half of the time
        defaults = preset_defaults(words) or tyro.MISSING_NONPROP
        prog = f"misfm {words[0]}"
        return tyro.cli(COMMANDS[words[0]], prog=prog, args=words[1:], default=defaults)
    return tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="misfm", args=words)


def _trains(words: Sequence[str]) -> bool:
    if words[:1] == ["run"] and len(words) > 1:
        with contextlib.suppress(MISFMError):
            return read_job(Path(words[1]))[0] in ("finetune", "pretrain")
    return words[:1] in (["finetune"], ["pretrain"])


def _follows(words: Sequence[str]) -> bool:
    """Tell whether this process helps another one with its training."""
    started_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    rank = os.environ.get("RANK" if started_by_torchrun else "SLURM_PROCID", "0")
    return _trains(words) and int(rank) > 0


def _end_badly(events: EventSink, error: BaseException) -> int:
    known = known_error(error)
    with contextlib.suppress(JobCancelled, OutputError):  # Nobody listens, or can be told.
        events(failure(known or error))
    return known.exit_code if known else MISFMError.exit_code
