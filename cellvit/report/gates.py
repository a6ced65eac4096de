"""The graded gates of summary.csv with their limits and, for what did not pass, what to try next."""

import math
from types import MappingProxyType
from typing import Final

import pandas as pd

from cellvit.config.judging import Gate, QualityGates
from cellvit.contracts.documents import Figure
from cellvit.report.cells import Cell, Row, Table, figure_cell
from cellvit.report.wording import GRADES, family_label, metric_of
