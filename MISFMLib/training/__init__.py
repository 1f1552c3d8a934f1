"""The one training loop with its losses, schedules and checkpoints."""
