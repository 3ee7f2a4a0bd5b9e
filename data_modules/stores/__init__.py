"""FaceStore: prepared face crops on disk: written once, read by every stage."""
