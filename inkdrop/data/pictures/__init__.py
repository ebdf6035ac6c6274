"""Parts that only data sets of pictures need: decoding, sizes, augmentation."""
