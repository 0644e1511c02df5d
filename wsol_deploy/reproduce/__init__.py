"""Tables of trainings: planned as data, trained by `wsol train`, measured on the test images."""
