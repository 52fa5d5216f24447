"""What both trainers share: batches, the optimizer, runs that resume."""
