"""Every step: cache -> batch on the device."""
