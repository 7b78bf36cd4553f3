"""Every performance figure that the README claims, as a command that prints the ratio against a named peer."""
