"""Studies: a grid of networks, pruned, trained and measured; on disk, resumable, on all cores.

``Study.read("study.yaml").run()`` computes one; ``Study.load(folder).results()`` is its table.
"""

from __future__ import annotations

from .config import StudyConfig
from .grid import Cell
from .measuring import measure_finished
from .store import StudyError
from .study import Study
from .trajectory import MaskTrajectory, measure_trajectory

__all__ = ["Cell", "MaskTrajectory", "Study", "StudyConfig", "StudyError", "measure_finished", "measure_trajectory"]
