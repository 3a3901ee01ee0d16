"""A user's own parts of a network with a loss, as an installed package has them."""
