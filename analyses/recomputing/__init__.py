"""Numbers of the reports computed anew from the raw tables, without `topo.stats` and `topo.questions`."""
