"""The MagDiff diffusion model: training, generation and editing."""
