"""What each command does, and what it answers: from the options of the command line to an `Answer`."""

from batchscore.answers.artifacts import metrics_forget, metrics_push, metrics_show, model_inspect, reference_create
from batchscore.answers.explaining import why
from batchscore.answers.looking import plan, runs, show, validate
from batchscore.answers.proving import diff, replay, report, verify
from batchscore.answers.scoring import backfill, discard, gc, limited, release, rescore_quarantine, run

__all__ = [
    "backfill",
    "diff",
    "discard",
    "gc",
    "limited",
    "metrics_forget",
    "metrics_push",
    "metrics_show",
    "model_inspect",
    "plan",
    "reference_create",
    "release",
    "replay",
    "report",
    "rescore_quarantine",
    "run",
    "runs",
    "show",
    "validate",
    "verify",
    "why",
]
