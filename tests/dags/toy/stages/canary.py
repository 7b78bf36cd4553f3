"""Watch nothing: there is no service to watch."""
