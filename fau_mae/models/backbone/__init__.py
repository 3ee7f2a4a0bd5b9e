"""The masked autoencoder: stems make tokens of patches, the encoder reads them, decoders tell what is hidden."""
