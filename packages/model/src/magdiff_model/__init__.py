"""The MagDiff diffusion model: not built yet; curation comes first."""
