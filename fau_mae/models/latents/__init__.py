"""What happens to latents between the encoder and a head."""
