"""
Accuracy at a glance
====================

A panel for each of a few pairs of dataset and model, those in which pruners differ most; it opens a report.
"""

import pandas as pd

import topo

table = pd.read_parquet("../../data/digits_study.parquet")  # the table of `make study`
figure = topo.plots.accuracy_overview(table)
