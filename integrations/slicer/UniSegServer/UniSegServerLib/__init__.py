"""What the module does, without Slicer (logic) and with it (scene)."""
