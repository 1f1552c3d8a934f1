"""From files to tensors: cases, preprocessing, augmentation, patches."""
