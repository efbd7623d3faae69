"""Training: the loop, its recipes, augmentation, teachers, evaluation and the card of a finished run."""
