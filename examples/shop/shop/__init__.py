"""A small shop: orders are priced, taxed and taken from the stock."""
