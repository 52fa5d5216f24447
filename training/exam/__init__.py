"""What the built-in model can do, judged by classical detectors."""
