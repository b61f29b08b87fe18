"""Published numbers, each under the name of the protocol that gave it.

Scores of a shipped flagfile stand in its heading, and are read from there.

Sources: ICLR 2021 is Sushko, Schönfeld et al., "You Only Need Adversarial Supervision for Semantic
Image Synthesis"; the thesis is V. Sushko, Bonn 2024, chapter 4. Left out is what could not be read
with certainty in the copies at hand: most of table K, and the groups of classes of tables C and D,
whose OASIS columns do not average to the totals below them. Figure 6 (colour and texture) has no
numbers.
"""

import dataclasses

from oasis_tf.cli import flagfiles


@dataclasses.dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        method: whose it is, as the papers call it.
        dataset: name of the data set, as in a label space.
        name: value name of the protocol, as in a report. One with `network not stated` is no name
            of ours: nothing that is measured here can be put beside it.
        value: in the unit of a report: fractions for IoU, accuracy and average precision.
        source: paper and table.
    """

    method: str
    dataset: str
    name: str
    value: float
    source: str

    def as_printed(self):
        """The value with the digits of the paper: FID, and IoU in percent, with one decimal."""
        if self.name == "lvis/classes_ap_above_0":
            return str(self.value)
        if self.name == "lvis/map":
            return f"{100 * self.value:.2f}"
        if "miou" in self.name:
            return f"{100 * self.value:.1f}"
        return f"{self.value:.1f}" if self.name.startswith("fid_") else f"{self.value:.2f}"


OASIS = "OASIS"
OASIS_VGG = "OASIS with VGG loss"
OASIS_NO_NOISE = "OASIS without 3D noise"
OASIS_NO_LABELMIX = "OASIS without 3D noise and LabelMix"
SPADE_VGG = "SPADE+ with VGG loss"
SPADE = "SPADE+ without VGG loss"
SPADE_UNSTATED = "SPADE+ (VGG loss not stated)"
REAL = "real images"
METHODS = (
    OASIS,
    OASIS_VGG,
    OASIS_NO_NOISE,
    OASIS_NO_LABELMIX,
    SPADE_VGG,
    SPADE,
    SPADE_UNSTATED,
    REAL,
)

SIZES = {
    "ade20k": (256, 256),
    "ade_outdoors": (256, 256),
    "cityscapes": (256, 512),
    "coco_stuff": (256, 256),
    "lvis": (128, 128),
}
"""Height and width of the images measured (ICLR 2021, appendix C.3; thesis, section 4.3.1)."""

NETWORKS = {
    "fid_inception2015": "pool3 of the Inception network of 2015",
    "alignment_upernet101/miou": "UperNet101 (Xiao et al. 2018)",
    "alignment_drn_d_105/miou": "DRN-D-105, multi-scale (Yu et al. 2017)",
    "alignment_deeplabv2/miou": "DeepLabV2 (Chen et al. 2015)",
    "segmentation/miou": "the model's own discriminator",
    "lvis/map": "an instance segmentation network trained on LVIS (Wang et al. 2021)",
}
"""Which network measured, by value name (ICLR 2021, section 4; thesis, section 4.3.1)."""

NOTES = {
    "ade_outdoors": "Which scenes the papers take as outdoors is not published.",
}
"""What a reader must know of a data set before comparing."""

SEGMENTERS = {
    "ade20k": "upernet101",
    "ade_outdoors": "upernet101",
    "cityscapes": "drn_d_105",
    "coco_stuff": "deeplabv2",
}
"""Stem that the file of a published segmenter must have for its values to carry its name."""

_FID = "fid_inception2015"
_MS_SSIM = "diversity/ms_ssim_5scales"
_LPIPS = "diversity/lpips (network not stated)"
_PRECISION = "precision (network not stated)"
_RECALL = "recall (network not stated)"
_TABLE_1, _TABLE_2 = "ICLR 2021, table 1", "ICLR 2021, table 2"
_TABLE_A, _TABLE_J = "ICLR 2021, table A", "ICLR 2021, table J"
_TABLE_K, _TABLE_45 = "ICLR 2021, table K", "thesis, table 4.5"

# Shipped flagfiles whose headings state scores: method, data set, the table of FID and mIoU, and
# that of MS-SSIM and LPIPS.
_FLAGFILES = {
    "ade": (OASIS, "ade20k", _TABLE_1),
    "ade_outdoors": (OASIS, "ade_outdoors", _TABLE_1),
    "cityscapes": (OASIS, "cityscapes", _TABLE_1),
    "coco_stuff": (OASIS, "coco_stuff", _TABLE_1),
    "lvis": (OASIS, "lvis", _TABLE_45),
    "ablations/oasis_ade_vgg": (OASIS_VGG, "ade20k", _TABLE_A, _TABLE_2),
    "ablations/oasis_cityscapes_vgg": (OASIS_VGG, "cityscapes", _TABLE_A, _TABLE_A),
    "ablations/oasis_labelmix_ade": (OASIS_NO_NOISE, "ade20k", "ICLR 2021, table 3"),
    "ablations/oasis_labelmix_coco_stuff": (OASIS_NO_NOISE, "coco_stuff", _TABLE_J),
    "ablations/oasis_plain_ade": (OASIS_NO_LABELMIX, "ade20k", _TABLE_A),
    "ablations/oasis_plain_cityscapes": (OASIS_NO_LABELMIX, "cityscapes", _TABLE_A),
    "ablations/spade_plus_ade_vgg": (SPADE_VGG, "ade20k", _TABLE_1),
    "ablations/spade_plus_ade_outdoors_vgg": (SPADE_VGG, "ade_outdoors", _TABLE_1),
    "ablations/spade_plus_cityscapes_vgg": (SPADE_VGG, "cityscapes", _TABLE_1),
    "ablations/spade_plus_coco_stuff_vgg": (SPADE_VGG, "coco_stuff", _TABLE_1),
    "ablations/spade_plus_ade": (SPADE, "ade20k", _TABLE_1),
    "ablations/spade_plus_ade_outdoors": (SPADE, "ade_outdoors", _TABLE_1),
    "ablations/spade_plus_cityscapes": (SPADE, "cityscapes", _TABLE_1),
    "ablations/spade_plus_coco_stuff": (SPADE, "coco_stuff", _TABLE_1),
    "ablations/spade_plus_lvis": (SPADE_UNSTATED, "lvis", _TABLE_45),
}

# Table B: mean IoU in percent of five groups of 30 classes, the most frequent first.
_ADE20K_GROUPS = [
    (SPADE_VGG, (63.7, 47.4, 45.3, 29.3, 26.2)),
    (OASIS_NO_LABELMIX, (68.8, 56.6, 51.5, 41.5, 39.7)),
]

_OTHERS = [
    Published(OASIS, "ade20k", "segmentation/miou", 0.400, "ICLR 2021, appendix B.4"),
    Published(OASIS, "ade20k", _MS_SSIM, 0.65, _TABLE_2),
    Published(OASIS, "cityscapes", _MS_SSIM, 0.64, _TABLE_A),
    Published(OASIS, "coco_stuff", _MS_SSIM, 0.61, _TABLE_J),
    Published(OASIS, "ade20k", _LPIPS, 0.35, _TABLE_2),
    Published(OASIS, "coco_stuff", _LPIPS, 0.42, "thesis, table 4.3"),
    Published(OASIS, "ade20k", _PRECISION, 0.77, _TABLE_K),
    Published(SPADE_UNSTATED, "ade20k", _PRECISION, 0.71, _TABLE_K),
    Published(OASIS, "coco_stuff", _RECALL, 0.59, _TABLE_K),
    Published(SPADE_UNSTATED, "coco_stuff", _RECALL, 0.56, _TABLE_K),
    Published(OASIS, "lvis", "lvis/map", 0.0538, _TABLE_45),
    Published(SPADE_UNSTATED, "lvis", "lvis/map", 0.0456, _TABLE_45),
    Published(REAL, "lvis", "lvis/map", 0.0670, _TABLE_45),
    Published(OASIS, "lvis", "lvis/classes_ap_above_0", 510, _TABLE_45),
    Published(SPADE_UNSTATED, "lvis", "lvis/classes_ap_above_0", 439, _TABLE_45),
    Published(REAL, "lvis", "lvis/classes_ap_above_0", 624, _TABLE_45),
]


def rows(dataset):
    """All published numbers of a data set, as a list of `Published`."""
    found = [row for row in _OTHERS if row.dataset == dataset]
    for flagfile, (method, of, *tables) in _FLAGFILES.items():
        if of == dataset:
            found += _of_heading(flagfile, method, of, *tables)
    if dataset == "ade20k":
        found += _ade20k_groups()
    return sorted(found, key=lambda row: (_position(row.name), METHODS.index(row.method)))


def _of_heading(flagfile, method, dataset, quality, diversity=None):
    """The scores in the heading of a flagfile, such as "FID 31.6, mIoU 50.8, MS-SSIM 0.88"."""
    path = flagfiles.shipped_configs()[f"{flagfile}.flags"]
    scores, _ = flagfiles.published_scores(path)
    for score in scores.split(", "):
        kind, value = score.split()
        if kind == "mIoU":
            name, value = _alignment(dataset, "miou"), _fraction(float(value))
        else:
            name = {"FID": _FID, "MS-SSIM": _MS_SSIM, "LPIPS": _LPIPS}[kind]
        source = quality if kind in ("FID", "mIoU") else diversity
        yield Published(method, dataset, name, float(value), source)


def _ade20k_groups():
    return [
        Published(
            method,
            "ade20k",
            _alignment("ade20k", f"miou_group_{number}"),
            _fraction(value),
            "ICLR 2021, table B",
        )
        for method, values in _ADE20K_GROUPS
        for number, value in enumerate(values, start=1)
    ]


def _alignment(dataset, score):
    return f"alignment_{SEGMENTERS[dataset]}/{score}"


def _fraction(percent):
    return round(percent / 100, 6)  # what is printed has three digits


def _position(name):
    """FID first, then alignment, then the others by name."""
    starts = (_FID, "alignment_")
    return next((i for i, s in enumerate(starts) if name.startswith(s)), len(starts)), name
