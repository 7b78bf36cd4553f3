"""The wheel, one module a DVC stage, each named by its verb."""
