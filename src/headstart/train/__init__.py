"""Training: heads solved on fixed features, and fine-tuning of what lies after the cut. It never reads images."""
