"""The training loop: stages, optimization, losses, schedules, run folder, progress."""
