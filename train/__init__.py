"""Training: recipe, augmentation, losses, recursive erasing, the loop, checkpoints."""
