"""Layer 4: registration, liveness and status."""
