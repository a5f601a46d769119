"""The README that is saved beside a pipeline's weights: what it is, how it was set, how to use it."""

from __future__ import annotations

from typing import Any

_CARD = """---
library_name: diffusers
pipeline_tag: text-to-video
tags:
- magdiff
- subject-driven-generation
- video-editing
---

# MagDiff

A text and a subject make a video; the same weights generate (one picture of the subject) and edit (the subject of
every frame). Paper: "MagDiff: Multi-Alignment Diffusion for High-Fidelity Video Generation and Editing".

```python
from magdiff_model.pipeline import MagDiffPipeline

pipeline = MagDiffPipeline.from_pretrained("this/folder")
video = pipeline("a rabbit jumps in the snow", image[None], mask[None]).frames[0]  # uint8 [F, S, S, 3]
```

| | |
|---|---|
{rows}

Videos show what the training clips, the base model and the prompt suggest, not what is so: mark them as generated.
"""


def model_card(pipeline: Any) -> str:
    """Return the card of a MagDiffPipeline, Markdown with the hub's metadata."""
    unet, config = pipeline.unet.config, pipeline.config
    millions = sum(parameter.numel() for parameter in pipeline.unet.parameters()) / 1e6
    scales = ", ".join(f"{ratio:g}" for ratio in config.subject_ratios)
    facts = {
        "frames at once": f"{config.num_frames} of {config.size_px}x{config.size_px} px",
        "UNet": f"{millions:.1f} M parameters, {unet.temporal_layout} layout, position code {unet.position_code}",
        "adaptive prompts alignment": f"{unet.apa_mode}, image tokens: {unet.image_prompt}",
        "high-fidelity alignment": f"subject at {scales} times the frames' size" if unet.hfa_scales else "none",
        "subject-driven alignment": "subjects are cut out" if config.subject_masked else "whole frames are shown",
        "scheduler": f"{type(pipeline.scheduler).__name__}, {pipeline.scheduler.config.prediction_type}",
    }
    return _CARD.format(rows="\n".join(f"| {name} | {value} |" for name, value in facts.items()))
