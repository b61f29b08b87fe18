"""SIV-GAN (One-Shot GAN) and OSMIS: images, or images with masks, from one picture or clip."""
