"""Weights in and out of files: this project's checkpoints, and vision transformers of others."""
