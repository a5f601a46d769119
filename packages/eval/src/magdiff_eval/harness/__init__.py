"""A benchmark run: what is shown, by whom videos are made, where they lie, how they are scored and told."""
