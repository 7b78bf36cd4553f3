"""Many bytes or numbers at a time, for the kernels of the data stages."""
