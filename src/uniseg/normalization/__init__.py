"""How a modality's intensities become network input: one file per mode, with its parameters and their YAML."""
