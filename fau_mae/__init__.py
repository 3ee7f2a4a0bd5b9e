"""Facial action units that survive occlusion: masked-autoencoder backbones, distillation, occlusion sweeps."""

__version__ = "0.1.0"
