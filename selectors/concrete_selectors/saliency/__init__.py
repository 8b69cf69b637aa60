"""Second-order saliency of a trained network's gates."""
