"""Plain torch models: no Lightning, no files, no global state. Masks: True = visible."""
