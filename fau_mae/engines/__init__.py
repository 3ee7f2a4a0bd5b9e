"""Who does the steps of a run where it is not the process itself: Ray's tasks, Slurm's jobs."""
