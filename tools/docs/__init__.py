"""What is generated from the code: `make docs` writes it, and a test holds it current."""

from __future__ import annotations

from pathlib import Path

from tools.docs import commands_page, exit_codes_page, metrics_page, reference_config
from tools.docs.config_schema import config_schema

ROOT = Path(__file__).parents[2]


def generated() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    return {
        "config/reference.schema.yaml": reference_config.schema_page(),
        "config/reference.yaml": reference_config.page(),
        "config/schema.json": config_schema(),
        "docs/commands.md": commands_page.page(),
        "docs/exit-codes.md": exit_codes_page.page(),
        "docs/metrics.md": metrics_page.page(),
    }
