"""Pure values: the description of a dataset, partition keys, time windows, ages, schemas."""
