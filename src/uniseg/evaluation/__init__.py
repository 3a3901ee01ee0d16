"""Label maps -> scores."""
