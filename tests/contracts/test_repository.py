"""What is committed, and what is imported: nothing of one machine, nothing before it is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADDRESSES = (
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "registry" + r"\.npmjs",
    "proxy" + r"\.golang",
    "conda" + r"\.anaconda",
)
PLACES = ("work", "root", "home/[a-z]+", "Users/[A-Za-z]+", "tmp/[a-z]+[._-][a-z]+")
FOREIGN = re.compile(
    rf"(?<![\w.$}}>-])/(?:{'|'.join(PLACES)})/|{'|'.join(ADDRESSES)}|--(?:extra-)?index-url[ =]https?:"
)
HEAVY = (
    "dask",
    "distributed",
    "joblib",
    "numpy",
    "obstore",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "skops",
)
LOADED = """
import sys
from batchscore.cli import main
sys.argv = ["batchscore", *{arguments}]
try:
    main()
except SystemExit:
    pass
print("LOADED", *sorted(name for name in sys.modules if "." not in name))
"""


def committed() -> list[Path]:
    """Return every file under version control, and those that are about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in sorted(done.stdout.split("\0")) if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry():
    """A clone works anywhere: where packages come from, and where things lie, is the machine's business."""
    found = []
    for path in committed():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{at}: {line[:80]}" for at, line in enumerate(lines, 1) if FOREIGN.search(line)
        ]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "cd /" + "work/main",
        "/" + "home/ann/x",
        "--index" + "-url https:" + "//a.example",
        "https://pypi" + ".org/simple",
    ],
)
def test_the_scan_sees_them(text):
    """The twin of the test above."""
    assert FOREIGN.search(text)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["metrics", "push", "--help"]])
def test_asking_for_help_loads_no_data_stack(arguments):
    """Help and version answer at once."""
    command = [sys.executable, "-c", LOADED.format(arguments=arguments)]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, check=False, text=True)
    loaded = done.stdout.rpartition("LOADED")[2].split()

    assert "batchscore" in loaded, done.stderr
    assert sorted(set(loaded) & set(HEAVY)) == []


def test_what_the_image_is_made_of_reaches_its_build():
    """Whatever the Dockerfile copies from the project is let through by .dockerignore."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "docker/Dockerfile").read_text(), flags=re.MULTILINE)
    wanted = {name for copy in copies for name in copy.split()}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {"src", "hatch_build.py"} <= wanted
    assert wanted <= let_through


def test_imports_point_down():
    """The contracts in pyproject.toml are kept."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=ROOT, env=_with_source(), capture_output=True, check=False, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def _with_source() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
