"""What the name of a value tells without loading anything: its metric, and which way is better."""

# Beginnings of the names of each metric's values.
PREFIXES = {
    "fid": ("fid_",),
    "kid": ("kid_",),
    "precision_recall": ("precision_", "recall_"),
    "segmentation": ("segmentation/",),
    "alignment": ("alignment_", "segmenter_"),
    "diversity": ("diversity/",),
    "class_diversity": ("class_diversity/",),
    "colour": ("colour_emd/",),
    "texture": ("texture_chi2/",),
    "lvis": ("lvis/",),
    "intra_lpips": ("intra_",),
    "sifid": ("sifid", "best_sifid"),
    "sample_diversity": ("sample_",),
    "training_distance": ("distance_",),
    "mask_score": ("masks_",),
    "path_roughness": ("path_roughness_",),
    "head_shares": ("head_share_",),
}
_SUMMARIES = ("miou", "thresholded_iou", "pixel_accuracy", "mean")
_LOWER_IS_BETTER = (
    *("fid_", "kid_", "colour_emd/", "texture_chi2/"),
    *("sifid", "best_sifid", "path_roughness_"),
)


def metric_of(value_name):
    """The metric that a value belongs to, or None."""
    return next((m for m, starts in PREFIXES.items() if value_name.startswith(starts)), None)


def higher_is_better(value_name):
    """Which way a value is better.

    MS-SSIM is a similarity: of images of one label map, less of it is more diversity.
    """
    return not value_name.startswith(_LOWER_IS_BETTER) and "ms_ssim" not in value_name


def is_criterion(value_name):
    """Whether a better value means a better model.

    Not so of spreads, changes, shares and segmenters.
    """
    no_criterion = value_name.startswith(("segmenter_", "head_share_"))
    no_criterion |= value_name.endswith("/std")
    return not no_criterion and "/change_" not in value_name


def is_summary(value_name):
    """Whether a value stands for all classes; the others are of one class or a group of them."""
    if "/" not in value_name or value_name.startswith(("diversity/", "lvis/")):
        return True
    return value_name.rpartition("/")[2] in _SUMMARIES
