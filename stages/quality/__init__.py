"""How a text is judged: what is measured, the kernels that measure it, the model's scores, the judge's grades."""
