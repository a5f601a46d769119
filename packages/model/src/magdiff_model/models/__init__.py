"""The denoiser: a video UNet with adaptive prompts alignment (APA) and high-fidelity alignment (HFA)."""
