"""The smaller network without what masks removed."""
