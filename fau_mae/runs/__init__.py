"""From an experiment folder to its results: configs, stages, resuming, Lightning's command line."""
