"""What a trained network becomes for programs that do not know this one."""
