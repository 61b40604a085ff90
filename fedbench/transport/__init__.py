"""Layer 5: messages between nodes."""
