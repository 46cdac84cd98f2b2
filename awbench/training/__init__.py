"""The classification training loop, its recipes, checkpoints and distribution."""
