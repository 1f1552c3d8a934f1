"""Stands for `misfm run job.json` of a training: tells some steps and copies a bundled model.

Its folder may hold ``behaviour.json``: {"wait": true} trains until it is asked to stop,
{"fail": {...}} ends in that failure, {"comparison": {...}} and {"evaluation": {...}} go into the
report.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from MISFMLib.resources import resource_path


def tell(**event):
    print(json.dumps(event), flush=True)


def main():
    job = json.loads(Path("job.json").read_text("utf-8"))["config"]
    behaviour = Path("../behaviour.json")
    behaviour = json.loads(behaviour.read_text("utf-8")) if behaviour.exists() else {}
    output = Path(job["output"])
    run = output.with_name("model.run")
    run.mkdir(exist_ok=True)
    (run / "settings.json").write_text("{}")
    (run / "checkpoint.pt").write_text("")
    (run / "control").unlink(missing_ok=True)
    tell(event="Progress", stage="train", fraction=0.5, message="step 10 of 20, loss 0.5", eta_s=30)
    tell(event="Metric", step=10, values={"loss": 0.5})
    tell(event="Metric", step=10, values={"score": 0.4, "dice/a": 0.4, "dice/b": 0.01})
    if "fail" in behaviour:
        tell(event="Failed", **behaviour["fail"])
        return 3
    while behaviour.get("wait"):
        word = (run / "control").read_text() if (run / "control").exists() else ""
        if word == "pause":
            tell(event="Failed", message="Cancelled.", code="cancelled", remedy="")
            return 130
        if word == "finish":
            break
        time.sleep(0.02)
    shutil.copytree(resource_path("Models/hippocampus-mr"), output)
    report = {"bundle": str(output), "steps": 20, "training_seconds": 40.0, "scores": ""}
    report["evaluation"] = behaviour.get("evaluation", {})
    if "comparison" in behaviour:
        report["comparison"] = behaviour["comparison"]
    tell(event="Finished", report=report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
