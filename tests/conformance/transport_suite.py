"""What every transport must do.

A backend that lacks a trait skips the tests that need it, by name; no assertion is looser for anyone.
"""

from __future__ import annotations

from tests.conformance.suite_data import DataSuite
from tests.conformance.suite_ending import EndingSuite
from tests.conformance.suite_handling import HandlingSuite
from tests.conformance.suite_routing import RoutingSuite


class TransportSuite(DataSuite, EndingSuite, RoutingSuite, HandlingSuite):
    """Subclass with a ``backend`` fixture."""
