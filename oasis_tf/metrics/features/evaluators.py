"""FID, KID, precision and recall of generated validation images against the real ones.

One image is generated for each validation label map (ICLR 2021, section 4), or for each validation
image by a model without label maps. What the real images give does not depend on the model: it is
computed once and kept beside the data.
"""

import abc
import functools
import os
import zipfile

import numpy as np

from oasis_tf.io import weight_files
from oasis_tf.metrics import cache, evaluator
from oasis_tf.metrics.features import networks, seeded
from oasis_tf.metrics.features.frechet import RunningMoments, frechet_distance
from oasis_tf.metrics.features.kernel_distance import kernel_distance
from oasis_tf.metrics.features.precision_recall import precision_recall

_FOLDER = "feature_statistics"
_INCEPTIONS = (
    weight_files.INCEPTION_FROZEN,
    weight_files.INCEPTION_TORCH,
    weight_files.INCEPTION_KERAS,
)
_NEIGHBOURS = 3
_SUBSETS, _SUBSET_SIZE = 100, 1000


class _Moments:
    """Mean and covariance alone: memory does not grow with the number of images."""

    kind = "moments"

    def __init__(self, dimension):
        self._moments = RunningMoments(dimension)

    def update(self, features, index):
        del index
        self._moments.update(features)

    def state(self):
        return self._moments.state()

    @staticmethod
    def merged(states):
        return RunningMoments.merged(states).state()


class _All:
    """All features, in the order of the images: for metrics of neighbours and pairs."""

    kind = "features"

    def __init__(self, dimension):
        self._features = [np.zeros((0, dimension), np.float32)]
        self._index = [np.zeros(0, np.int64)]

    def update(self, features, index):
        self._features.append(features)
        self._index.append(index)

    def state(self):
        return {"features": np.concatenate(self._features), "index": np.concatenate(self._index)}

    @staticmethod
    def merged(states):
        index = np.concatenate([state["index"] for state in states])
        order = np.argsort(index)
        gathered = np.concatenate([state["features"] for state in states])
        return {"features": gathered[order], "index": index[order]}


class _RealSide:
    """What is collected of the real images, kept beside the data.

    Args:
        context: `EvaluationContext`.
        network: feature network.
        collection: `_Moments` or `_All`.
    """

    def __init__(self, context, network, collection):
        name = cache.key(_decisive(context, network)) + f"_{network.name}_{collection.kind}.npz"
        self._places = cache.places(context.dataset, context.model_dir, _FOLDER, name)
        self._collection = collection
        self._collected = collection(network.dimension)
        path = cache.find(self._places)
        self._kept = None if path is None else _read(path)

    def update(self, batch, network):
        if self._kept is None:
            self._collected.update(batch.features(network, "image"), batch.index[batch.valid])

    def state(self):
        return {} if self._kept is not None else self._collected.state()

    def merged(self, states):
        if self._kept is None:
            self._check_collected(states)
            self._kept = self._collection.merged(states)
            cache.keep(self._places, self._write)
        return self._kept

    def _check_collected(self, states):
        others = [str(worker) for worker, state in enumerate(states) if not state]
        if others:
            raise ValueError(
                "All workers must find the same kept statistics of the real images. Received: "
                f"worker {', '.join(others)} has {os.path.basename(self._places[0])} in its copy "
                f"of the data, worker 0 has not. Delete the folder {_FOLDER} in all copies."
            )

    def _write(self, path):
        with open(path, "wb") as file:
            np.savez(file, **self._kept)


def _decisive(context, network):
    """All that decides the real images' features."""
    return {
        "shards": cache.split_digests(context.dataset, "val"),
        "skip_corrupt": context.skip_corrupt and context.num_images,
        "size": [context.height, context.width],
        "network": network.digest,
        "version": 1,
    }


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"The kept statistics of the real images cannot be read: {path} ({error}). Delete the "
            "file to have them computed again."
        ) from error


class _FeatureEvaluator(evaluator.Evaluator):
    """Collects features of real and generated images; subclasses make values of them."""

    collection: type

    def __init__(self, context):
        self._num_images = context.num_images
        self._one_for = "label map" if context.label_space else "image"
        self._network = self._load_network(context.settings)
        self._real = _RealSide(context, self._network, self.collection)
        self._generated = self.collection(self._network.dimension)

    @classmethod
    def check(cls, settings, label_space):
        if settings.inception:
            weight_files.check_exists(settings.inception, *_INCEPTIONS)

    @staticmethod
    def _load_network(settings):
        return _loaded(networks.feature_network, settings.inception)

    def update(self, batch):
        self._real.update(batch, self._network)
        index = batch.index[batch.valid]
        self._generated.update(batch.features(self._network, "generated"), index)

    def state(self):
        sides = {"real": self._real.state(), "generated": self._generated.state()}
        return {f"{side}/{k}": v for side, state in sides.items() for k, v in state.items()}

    def result(self, states):
        real = self._real.merged(_side(states, "real"))
        generated = self.collection.merged(_side(states, "generated"))
        protocol = {
            "network": self._network.name,
            "network_digest": self._network.digest,
            "images": f"one generated image for each validation {self._one_for}",
            "num_real": self._num_images,
            "num_generated": self._num_images,
        }
        values, more = self._values(real, generated)
        notes = more.pop("notes", None) or network_notes(self._network.name)
        return evaluator.Result(values, protocol | more | {"notes": notes})

    @abc.abstractmethod
    def _values(self, real, generated):
        """Values by name, and additions to the protocol."""


@functools.lru_cache(maxsize=2)
def _loaded(load, path):
    """A network, shared by metrics and by the evaluations of a run."""
    return load(path)


def network_notes(name):
    """What a reader must know of values with a network of this name."""
    if name == seeded.NAME:
        return [
            f"{name} is a small network of fixed random weights: for comparisons between models "
            "measured with it, never with published values. --inception gives the published one."
        ]
    notes = []
    if name.startswith("keras_imagenet"):
        notes.append("Keras' ImageNet InceptionV3 is not the network of published values.")
    if name.endswith(weight_files.UNVERIFIED):
        notes.append(f"The weight file of {name} is not the published one.")
    return notes


def _side(states, side):
    prefix = f"{side}/"
    return [{k[len(prefix) :]: v for k, v in s.items() if k.startswith(prefix)} for s in states]


class FIDEvaluator(_FeatureEvaluator):
    """Fréchet distance of the two sets of features (Heusel et al. 2017): `fid_NETWORK`."""

    collection = _Moments

    def _values(self, real, generated):
        moments = (RunningMoments.merged([state]) for state in (real, generated))
        values, notes = fid(self._network, *moments)
        return values, {"notes": notes}


def fid(network, real, generated):
    """The value, by its name, and what a reader must know of it.

    Args:
        network: `FeatureNetwork`.
        real, generated: `RunningMoments` of features of as many images.

    Returns:
        dict of one value, and a list of notes.
    """
    value = frechet_distance(real.mean, real.covariance(), generated.mean, generated.covariance())
    notes = network_notes(network.name)
    if real.count <= network.dimension:
        notes.append(
            f"FID from {real.count} images in {network.dimension} dimensions: the covariances are "
            "singular and the value depends on the number of images; compare only values from as "
            "many."
        )
    return {f"fid_{network.name}": value}, notes


class KIDEvaluator(_FeatureEvaluator):
    """Kernel distance of the two sets (Bińkowski et al. 2018): `kid_NETWORK`, `…/std`."""

    collection = _All

    def _values(self, real, generated):
        distance = kernel_distance(
            real["features"],
            generated["features"],
            num_subsets=_SUBSETS,
            subset_size=_SUBSET_SIZE,
            seed=0,
        )
        name = f"kid_{self._network.name}"
        values, subsets = {name: distance.mean}, 1
        if self._num_images > _SUBSET_SIZE:  # else there is but one subset and nothing to spread
            values[f"{name}/std"], subsets = distance.std, _SUBSETS
        size = min(_SUBSET_SIZE, self._num_images)
        kernel = "polynomial, degree 3, unbiased"
        return values, {"kernel": kernel, "subsets": subsets, "subset_size": size}


class PrecisionRecallEvaluator(_FeatureEvaluator):
    """Improved precision and recall (Kynkäänniemi et al. 2019): `precision_NETWORK`, `recall_…`.

    By VGG-16 features if `--vgg16` is given, as in that paper, else by those of FID.
    """

    collection = _All

    @classmethod
    def check(cls, settings, label_space):
        if settings.vgg16:
            weight_files.check_exists(settings.vgg16, weight_files.VGG16)
        else:
            super().check(settings, label_space)

    @staticmethod
    def _load_network(settings):
        if settings.vgg16:
            return _loaded(networks.vgg16_network, settings.vgg16)
        return _loaded(networks.feature_network, settings.inception)

    def _values(self, real, generated):
        precision, recall = precision_recall(
            real["features"], generated["features"], neighbours=_NEIGHBOURS
        )
        name = self._network.name
        values = {f"precision_{name}": precision, f"recall_{name}": recall}
        return values, {"neighbours": _NEIGHBOURS}
