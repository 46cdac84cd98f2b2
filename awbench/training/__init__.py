"""The training loop of both tasks: checkpoints, processes, norms, signals."""
