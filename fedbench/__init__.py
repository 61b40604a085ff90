"""Push-based federated communication: one API in three modes, nothing that polls."""
