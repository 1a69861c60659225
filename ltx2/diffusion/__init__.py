"""The mathematics of sampling: from noise to clean latents, with the network as a callable."""
