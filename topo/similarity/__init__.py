"""How alike networks are: distances between graphs, and tests on them."""
