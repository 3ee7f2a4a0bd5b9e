"""What the sources of real faces share: their tables, files and frames, and the processes that make stores of them."""
