"""LightningModules with what belongs to them."""
