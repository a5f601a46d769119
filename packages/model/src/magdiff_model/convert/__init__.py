"""Published checkpoints -> MagDiff pipelines: `python -m magdiff_model.convert SOURCE --output FOLDER`."""
