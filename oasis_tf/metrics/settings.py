"""Settings of the metrics. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Networks and numbers of samples of the metrics, in training and in the evaluate command.

    Raises:
        ValueError: a field is outside its limits.
    """

    inception: str | None = setting(
        "Weights of the feature network of fid, kid and precision_recall: Inception of 2015 "
        "(classify_image_graph_def.pb or pt_inception-2015-12-05-6726825d.pth) or Keras' ImageNet "
        "InceptionV3 (.h5); for sifid torchvision's (inception_v3_google-0cc3c7bd.pth) or that of "
        "2015. Without weights, a small seeded network is used. The names of the "
        "values tell which network it was.",
        None,
        changeable=True,
        path=True,
    )
    vgg16: str | None = setting(
        "Weights of torchvision's VGG-16 (vgg16-397923af.pth). With them, precision_recall uses "
        "features of its second fully connected layer.",
        None,
        changeable=True,
        path=True,
    )
    lpips_backbone: str | None = setting(
        "Weights of torchvision's AlexNet or VGG-16 for LPIPS. Without them, a small seeded "
        "network is used.",
        None,
        changeable=True,
        path=True,
    )
    lpips_heads: str | None = setting(
        "Linear heads of LPIPS 0.1 for that network (alex.pth or vgg.pth).",
        None,
        changeable=True,
        path=True,
    )
    segmenter: str = setting(
        "Segmenter of the metric alignment: a SavedModel folder or a Keras file. auto: a compact "
        "network, trained on the real training images and stored in the folder of the data set. A "
        "SavedModel is a program that can read and write files: take only one that you trust.",
        "auto",
        changeable=True,
        path=True,
    )
    segmenter_labels: str | None = setting(
        "JSON file that maps the outputs of --segmenter to the classes of the data set.",
        None,
        changeable=True,
        path=True,
    )
    segmenter_steps: int | None = setting(
        "Training steps of the compact segmenter. (default: five epochs, at least 400)",
        None,
        minimum=1,
        changeable=True,
    )
    diversity_samples: int = setting(
        "Images that the diversity metrics generate for each label map.",
        20,
        minimum=2,
        changeable=True,
    )
    diversity_maps: int | None = setting(
        "Label maps that the diversity metrics use, spread over the split. (default: all)",
        None,
        minimum=1,
        changeable=True,
    )
    lvis_annotations: str | None = setting(
        "Path of lvis_v1_val.json, for the metric lvis.", None, changeable=True, path=True
    )
    lvis_detections: str | None = setting(
        "Detections of an external detector in the generated images, for the metric lvis: a JSON "
        "list in the format of COCO results.",
        None,
        changeable=True,
        path=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PicturesEvaluationConfig:
    """Networks and numbers of samples of the metrics of models of a few pictures.

    Raises:
        ValueError: a field is outside its limits.
    """

    inception: str | None = setting("As of EvaluationConfig.", None, path=True)
    lpips_backbone: str | None = setting("As of EvaluationConfig.", None, path=True)
    lpips_heads: str | None = setting("As of EvaluationConfig.", None, path=True)
    resnet18: str | None = setting(
        "Weights of torchvision's ResNet-18 (resnet18-f37072fd.pth), the encoder of the segmenter "
        "of mask_score. Without them, it begins with seeded weights.",
        None,
        path=True,
    )
    evaluation_samples: int = setting(
        "Images that a model of a few pictures is measured by.", 100, minimum=2
    )
    intra_samples: int = setting(
        "Images that intra_lpips clusters. With another number than the published 1000 the name of "
        "the value ends in it.",
        1000,
        minimum=2,
    )
    evaluation_views: int = setting(
        "Augmented views of the training pictures that training_distance looks for the nearest in.",
        100,
        minimum=1,
    )
    mask_steps: int = setting(
        "Training steps of the segmenters of mask_score. With another number the names of the "
        "values end in it.",
        500,
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
