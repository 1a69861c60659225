"""The networks: tensors in, tensors out; no files and no modes."""
