"""The demo of `few_shot`: sliders over latents, source and target next to each other."""
