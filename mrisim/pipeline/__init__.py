"""The one story: sequence or protocol → k-space → images → maps → files, figures and report."""

from __future__ import annotations

from mrisim.pipeline.records import Result as Result
from mrisim.pipeline.records import ScanResult as ScanResult
from mrisim.pipeline.records import TissueRow as TissueRow
from mrisim.pipeline.run import run as run
from mrisim.pipeline.sweeps import sweep as sweep
