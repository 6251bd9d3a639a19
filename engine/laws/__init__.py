"""The laws of the architecture, held against a network of one's own: `check_model`, the command
`engine check`, and `engine.laws.testing` for a project's tests.
"""

from engine.laws.compare import Broken
from engine.laws.opening import open_network
from engine.laws.table import LAWS, Law, Verdict, check_model

__all__ = ["LAWS", "Broken", "Law", "Verdict", "check_model", "open_network"]
