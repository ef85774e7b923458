"""HTTP: requests to plain arguments, values to answers, nothing else."""
