"""docs/metrics.md says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """Generating the page again changes nothing."""
    generated = runpy.run_path(str(ROOT / "docs" / "generate_metrics.py"))["page"]()

    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == generated
