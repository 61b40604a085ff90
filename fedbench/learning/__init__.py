"""Layer 1: learners, what runs their methods, and the trainer that averages their updates."""
