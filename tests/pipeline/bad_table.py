"""The whole table of bad inputs, in the order of the documentation."""

from __future__ import annotations

import bad_configs
import bad_data
import bad_models
import bad_rules
from bad_row import Bad

SECTIONS: dict[str, tuple[Bad, ...]] = {
    "The command line": bad_configs.COMMAND_LINES,
    "The configuration": bad_configs.CONFIGS,
    "The feature schema": bad_configs.SCHEMAS,
    "Rules and calibration": bad_rules.ROWS,
    "The model": bad_models.ROWS,
    "The snapshot's columns": bad_data.COLUMNS,
    "The snapshot's rows": bad_data.VALUES,
    "The snapshot's files": bad_data.FILES,
    "The output and the gates": bad_data.OUTPUT,
}

ROWS: tuple[Bad, ...] = tuple(row for rows in SECTIONS.values() for row in rows)
