"""Telling whether a video was made here: fingerprints, their ledger, and a VAE's own errors."""
