"""The occlusion protocol: what hides a face, how much of it, and the exact mask. True = visible."""
