"""Start, enter and stop the cluster: `python -m node up|down|exec|load|stats`, with tests/cluster on PYTHONPATH.

up [--two]       bring it up, with one node or two
exec CMD…        run a command inside, with an administrator's KUBECONFIG
load 1|2 FILE…   import image archives into the first or the second node
stats            resident memory by part
down             stop all of it and leave nothing behind
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from node import certificates, configuration, namespaces
from node.layout import BIN, CGROUP, CONFIG, CONTROLLERS, FIRST, LOGS, PKI, RUN, SECOND, VOLUME, Node, controllers, say

HERE = Path(__file__).resolve().parent.parent


def up(*, two: bool) -> None:
    """Bring the cluster up; whatever ran before is stopped first."""
    down()
    for folder in (PKI, CONFIG, LOGS, VOLUME):
        folder.mkdir(parents=True)
    RUN.chmod(0o755)
    VOLUME.chmod(0o777)  # a host path knows no fsGroup
    certificates.issue()
    configuration.write((FIRST, SECOND))
    _make_cgroups()
    say("certificates and configuration are written")
    process = _start(two=two)
    end = time.monotonic() + 400
    with (LOGS / "init.log").open(encoding="utf-8") as told:
        while not (RUN / "ready").exists():
            _remember(process.pid)
            sys.stdout.write(told.read())
            sys.stdout.flush()
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{told.read()}\nnot up; see {LOGS}")
            time.sleep(0.1)
        sys.stdout.write(told.read())
    say("the cluster is up")


def _start(*, two: bool) -> subprocess.Popen[bytes]:
    apart = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    command = [*apart, sys.executable, "-m", "node", "_inside", *(["--two"] if two else [])]
    with (LOGS / "init.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(HERE)},
        )


def _remember(pid: int) -> None:
    """Write down process 1 of the namespaces, as it is called outside."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    inner = children.read_text(encoding="utf-8").split() if children.exists() else []
    if inner and not (RUN / "init.pid").exists():
        (RUN / "init.pid").write_text(inner[0], encoding="utf-8")


def enter(command: Sequence[str]) -> int:
    """Run a command inside; return its exit code."""
    inner = (RUN / "init.pid").read_text(encoding="utf-8")
    environment = {
        **os.environ,
        "KUBECONFIG": str(CONFIG / "admin.kubeconfig"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    inside = ("nsenter", "-t", inner, "--net", "--mount", "--pid", f"--wd={Path.cwd()}")
    return subprocess.run([*inside, *command], env=environment, check=False).returncode


def load(node: Node, archives: Sequence[str]) -> int:
    """Import image archives into the containerd of a node; return 0, or the code of the first failure."""
    socket = f"/run/containerd{node.suffix}/containerd.sock"
    for archive in archives:
        code = enter(["ctr", "-a", socket, "-n", "k8s.io", "images", "import", str(Path(archive).resolve())])
        if code:
            return code
    return 0


def stats() -> None:
    """Print the resident memory of every kind of process inside."""
    sums: dict[str, list[int]] = {}
    for status in _statuses():
        entry = sums.setdefault(status["Name"].strip(), [0, 0])
        entry[0] += 1
        entry[1] += int(status.get("VmRSS", "0 kB").split()[0])
    for name, (count, kibibytes) in sorted(sums.items(), key=lambda item: -item[1][1]):
        sys.stdout.write(f"{name:24} x{count:<3} {kibibytes / 1024:8.0f} MiB\n")
    sys.stdout.write(f"{'all':29} {sum(size for _, size in sums.values()) / 1024:8.0f} MiB\n")


def _statuses() -> Iterator[dict[str, str]]:
    inner = (RUN / "init.pid").read_text(encoding="utf-8")
    wanted = Path(f"/proc/{inner}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # Containers have process namespaces of their own, below ours: they are found by their cgroup.
            ours = (process / "ns" / "pid").readlink() == wanted
            if ours or CGROUP in (process / "cgroup").read_text(encoding="utf-8"):
                lines = (process / "status").read_text(encoding="utf-8").splitlines()
                yield dict(line.split(":", 1) for line in lines if ":" in line)
        except OSError:
            continue


def down() -> None:
    """Stop all of it; does nothing when nothing runs."""
    record = RUN / "init.pid"
    if not RUN.exists():
        return
    if record.exists():
        _kill(int(record.read_text(encoding="utf-8")))
    left = _clear_cgroups()
    for _ in range(40):
        if not RUN.exists():
            break
        shutil.rmtree(RUN, ignore_errors=True)
        time.sleep(0.1)
    say("down" + (f"; {len(left)} cgroups are left" if left else "") + (f"; {RUN} is left" if RUN.exists() else ""))


def _kill(inner: int) -> None:
    """End process 1, if that process id is still ours; with it goes everything inside."""
    process = Path(f"/proc/{inner}")
    try:
        if b"_inside" not in (process / "cmdline").read_bytes():
            return
        os.kill(inner, signal.SIGKILL)
        while process.exists() and "Z" not in (process / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1][:3]:
            time.sleep(0.05)
    except (FileNotFoundError, ProcessLookupError):
        return


def _make_cgroups() -> None:
    for controller in controllers():
        for group in (controller / CGROUP, controller / CGROUP / "second"):
            group.mkdir(exist_ok=True)
            if controller.name == "cpuset":
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (group / name).write_text((controller / name).read_text(encoding="utf-8"), encoding="utf-8")


def _clear_cgroups() -> list[str]:
    left, end = [], time.monotonic() + 10
    for root in (*controllers(), CONTROLLERS / "unified"):
        for folder, _, _ in os.walk(root / CGROUP, topdown=False):
            while True:
                try:
                    Path(folder).rmdir()
                    break
                except OSError:
                    if time.monotonic() > end:
                        left.append(folder)
                        break
                    time.sleep(0.05)
    return left


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    verb, *rest = arguments or ["help"]
    if verb == "up":
        up(two="--two" in rest)
    elif verb == "_inside":
        namespaces.main(two="--two" in rest)
    elif verb == "exec":
        return enter(rest)
    elif verb == "load":
        return load({"1": FIRST, "2": SECOND}[rest[0]], rest[1:])
    elif verb == "stats":
        stats()
    elif verb == "down":
        down()
    else:
        sys.stderr.write(__doc__ or "")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
