"""Using a trained model: detection on pictures and videos."""
