"""Clips of a take sampled on other machines: a driver's side, a worker's side, and Ray between."""
