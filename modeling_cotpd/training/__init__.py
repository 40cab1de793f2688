"""Training: arguments, the trainer and its losses, one run from records to results, the model card, the Hub."""
