"""From latents to action units: every AU head returns an `AUOutput`."""
