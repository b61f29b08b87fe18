"""LVIS average precision of generated images, by what an external detector found on them."""

import os

from oasis_tf.metrics import evaluator
from oasis_tf.metrics.lvis import scoring


class LVISEvaluator(evaluator.Evaluator):
    """Thesis table 4.5: `lvis/map` (a fraction) and `lvis/classes_ap_above_0`."""

    needs_images = False

    def __init__(self, context):
        self._annotations = context.settings.lvis_annotations
        self._detections = context.settings.lvis_detections

    @classmethod
    def check(cls, settings, label_space):
        for name in ("lvis_annotations", "lvis_detections"):
            path = getattr(settings, name)
            if not path or not os.path.isfile(path):
                raise ValueError(
                    "The metric lvis needs --lvis_annotations=lvis_v1_val.json and "
                    "--lvis_detections=FILE, what a detector found on the generated images. "
                    f"Received: {name}={path}."
                )

    def update(self, batch):
        raise NotImplementedError("The detector has seen the images already.")

    def state(self):
        return {}

    def result(self, states):
        found = scoring.lvis_average_precision(self._annotations, self._detections)
        protocol = {
            "annotations": os.path.abspath(self._annotations),
            "detections": os.path.abspath(self._detections),
            "classes_with_truth": found.classes_with_truth,
            "num_images": found.num_images,
            "num_images_with_detections": found.num_images_with_detections,
            "class_ap": found.class_ap,
        }
        notes = ["The value depends on the detector; the papers took one trained on LVIS."]
        if found.num_images_with_detections < found.num_images / 2:
            notes.append(
                f"Only {found.num_images_with_detections} of {found.num_images} images have "
                "detections: those of the others count as missed."
            )
        protocol["notes"] = notes
        return evaluator.Result(found.scores(), protocol)
