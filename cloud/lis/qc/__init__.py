"""Quality control results as the instruments send them."""
