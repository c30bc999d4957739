"""The command `batchscore`, also as `python -m batchscore`."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C before it is there ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from batchscore.cli import main as run

    run()


if __name__ == "__main__":
    main()
