"""The golden set: asked of the running service, kept from the promotion on, compared, shown."""
