"""What the tests of whole runs share with the fault tests."""

from faults.conftest import fast_path, figures

__all__ = ["fast_path", "figures"]
