"""One module per dataset layout: where it keeps images and labels."""
