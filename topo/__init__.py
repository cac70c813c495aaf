"""Topology of sparse neural networks: prune, encode as graphs, measure, relate to accuracy."""
