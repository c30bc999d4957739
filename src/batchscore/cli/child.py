"""The command line of a process that another one waits for: it ends when stdin does, which is when that one has ended.

`python -m batchscore.cli.child` is `batchscore` otherwise.
"""

from __future__ import annotations

import os
import signal
import threading

from batchscore.cli import main


def _end_with_parent() -> None:
    """Wait until nobody holds the other end of stdin any more, then end as after SIGTERM: the run can be resumed."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    main()
