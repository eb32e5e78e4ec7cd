"""Data sets for segmentation. Each gives (image (3, H, W) uint8, mask (H, W) int64) and knows its classes."""
