"""How sources become rows: where files lie, how records are cut out of bytes, what a record means, what is mended."""
