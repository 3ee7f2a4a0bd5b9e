"""W&B sweep files: their trials on Ray Tune or under W&B's agents."""
