"""Training and evaluating segmentation networks, regular and irregular alike."""
