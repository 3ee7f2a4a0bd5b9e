"""The masked autoencoder: stems make tokens of patches, the encoder reads them, the decoder makes pixels again."""
