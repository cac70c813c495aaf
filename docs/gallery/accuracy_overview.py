"""
Accuracy at a glance
====================

A panel for each of a few pairs of dataset and model, those in which pruners differ most; it opens a report.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.accuracy_overview(table)
