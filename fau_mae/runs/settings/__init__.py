"""What is wrong with a stage's settings, in one line and before anything is trained."""
