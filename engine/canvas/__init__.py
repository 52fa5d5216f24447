"""The canvas: latents of which some frames are known, and the arithmetic of its grid."""
