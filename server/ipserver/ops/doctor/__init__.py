"""`ipserver doctor`: finds problems of an installation and says how to correct them.

It makes the checks that a part makes at its start (`startup`), and more. It continues after a problem. It
writes test data, reads them back and removes them, and starts nothing.
"""

from ipserver.ops.doctor.examination import examine
from ipserver.ops.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
