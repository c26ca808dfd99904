"""`ipserver doctor`: find out what is wrong with an installation and how to mend it.

It makes the checks that a part makes at its start (`startup`), and more. It continues after a problem, and it
writes test data and reads them back. It leaves nothing behind and starts nothing.
"""

from ipserver.ops.doctor.examination import examine
from ipserver.ops.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
