"""Diversity among images of one label map: MS-SSIM, LPIPS."""
