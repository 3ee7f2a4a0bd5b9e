"""From a picture or video to face crops: decoding, detection, alignment."""
