"""Deterministic, versioned, auditable batch scoring on Dask."""

__version__ = "0.1.0"
