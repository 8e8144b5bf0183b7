"""The steroid model on trial: arms of experiments, the criteria of the claims, parameter sets that meet them."""
