"""fedbench: federated learning by push over long-lived connections."""
