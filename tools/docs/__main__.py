"""Writes every generated file: `python -m tools.docs`."""

from __future__ import annotations

from tools.docs import ROOT, generated

for file, text in generated().items():
    (ROOT / file).write_text(text, encoding="utf-8")
