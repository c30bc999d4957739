"""What each command does, and what it answers: from the options of the command line to an `Answer`."""

from batchscore.answers.looking import plan, runs, show, validate
from batchscore.answers.proving import diff, replay, verify
from batchscore.answers.scoring import discard, gc, limited, release, run

__all__ = ["diff", "discard", "gc", "limited", "plan", "release", "replay", "run", "runs", "show", "validate", "verify"]
