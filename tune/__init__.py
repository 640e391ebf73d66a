"""Search over hyperparameters with Ray Tune and Optuna."""
