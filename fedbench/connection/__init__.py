"""Layer 3: the connections of a node."""
