"""Worked examples: data and models for the service to score. Training lives here, never in the package."""
