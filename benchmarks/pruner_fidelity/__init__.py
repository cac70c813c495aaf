"""Scores and masks of the pruners beside those of public implementations: ``python -m benchmarks.pruner_fidelity``."""
