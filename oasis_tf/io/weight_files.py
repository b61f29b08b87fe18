"""Weight files of published networks: where to get them, how to recognise and how to read them.

The project contains none of them and downloads nothing. A file whose bytes are not the published
ones is used with a warning, and values of metrics get names that end in ``_unverified``.
"""

import dataclasses
import hashlib
import os

import numpy as np
from absl import logging

UNVERIFIED = "_unverified"


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A published weight file.

    Attributes:
        name: its file name.
        url: where to get it.
        checksum: `sha256:…` or `md5:…` of its bytes, or the beginning of it.
        flag: flag of the commands that take it.
    """

    name: str
    url: str
    checksum: str
    flag: str


INCEPTION_FROZEN = PublishedFile(
    "classify_image_graph_def.pb",
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz (unpack it)",
    "sha256:009d6814d1bc560d4e7b236e170e9b2d5ca6f4b57bd8037f6db05776204415c6",
    "--inception",
)
INCEPTION_TORCH = PublishedFile(
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "--inception",
)
INCEPTION_KERAS = PublishedFile(
    "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
    "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "md5:bcbd6486424b2319ff4ef7d526e38f63",  # the only checksum that Keras gives
    "--inception",
)
# Names of torchvision's files end in the beginning of their checksum.
INCEPTION_TORCHVISION = PublishedFile(
    "inception_v3_google-0cc3c7bd.pth",
    "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
    "sha256:0cc3c7bd",
    "--inception",
)
RESNET18 = PublishedFile(
    "resnet18-f37072fd.pth",
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "sha256:f37072fd",
    "--resnet18",
)
VGG16 = PublishedFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "--vgg16",
)
VGG19_TORCH = PublishedFile(
    "vgg19-dcbb9e9d.pth",
    "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "sha256:dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    "--vgg19",
)
VGG19_KERAS = PublishedFile(
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "md5:253f8cb515780f3b799900260a226db6",  # the only checksum that Keras gives
    "--vgg19",
)
LPIPS_BACKBONES = {
    "alex": PublishedFile(
        "alexnet-owt-7be5be79.pth",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "--lpips_backbone",
    ),
    "vgg": dataclasses.replace(VGG16, flag="--lpips_backbone"),
}
_HEADS_URL = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
)
LPIPS_HEADS = {
    "alex": PublishedFile(
        "alex.pth",
        _HEADS_URL + "alex.pth",
        "sha256:df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "--lpips_heads",
    ),
    "vgg": PublishedFile(
        "vgg.pth",
        _HEADS_URL + "vgg.pth",
        "sha256:a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "--lpips_heads",
    ),
}


# === Finding and recognising ===


def check_exists(path, *published):
    """Checks that a weight file exists.

    Args:
        path: str.
        *published: the `PublishedFile`s that can be used.

    Raises:
        ValueError: there is no file. The error says where to get one and which flag to set.
    """
    if not os.path.isfile(path):
        places = "".join(f"\n  {one.name}: {one.url}" for one in published)
        raise ValueError(
            f"There is no weight file {path}. Get one of these and give its path as "
            f"{published[0].flag}=FILE:{places}"
        )


def is_published(path, published):
    """Returns whether the bytes of a file have the checksum of a `PublishedFile`."""
    algorithm, _, checksum = published.checksum.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest().startswith(checksum)


def verified_name(name, *pairs):
    """Returns a network's name, followed by `_unverified` unless all its files are published ones.

    Args:
        name: str.
        *pairs: pairs of a path and the `PublishedFile` expected there.
    """
    others = [(path, one) for path, one in pairs if not is_published(path, one)]
    for path, one in others:
        logging.warning(
            "%s is not the published %s (%s): its values are named %s%s.",
            path, one.name, one.checksum, name, UNVERIFIED,
        )  # fmt: skip
    return name + UNVERIFIED if others else name


# === Reading ===


def read_frozen_constants(path):
    """Reads the constants of a frozen TensorFlow graph.

    Args:
        path: str, a binary GraphDef.

    Returns:
        dict of node name -> array.

    Raises:
        ValueError: the file is not a GraphDef, or has no constants.
    """
    import tensorflow as tf  # here: the tables above are used without TensorFlow
    from google.protobuf.message import DecodeError

    graph = tf.compat.v1.GraphDef()
    with open(path, "rb") as file:
        try:
            graph.ParseFromString(file.read())
        except DecodeError as error:
            raise ValueError(f"{path} must be a frozen graph (a binary GraphDef).") from error
    constants = {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const"
    }
    if not constants:
        raise ValueError(f"{path} must be a frozen graph: it holds no constants.")
    return constants


def select(found, wanted, path):
    """Returns the arrays that a network needs, in the network's layout.

    Args:
        found: dict of the file's names -> arrays.
        wanted: dict of our name -> (the file's name, our shape, function from the file's layout
            to ours).
        path: path of the file, for errors.

    Returns:
        dict of our name -> float32 array. Other arrays of the file are left out.

    Raises:
        ValueError: arrays are missing, of other shapes or not finite. The error lists all of them.
    """
    chosen, problems = {}, []
    for ours, (name, shape, convert) in wanted.items():
        if name not in found:
            problems.append(f"{name} is missing.")
            continue
        problem = _misfit(found[name], shape, convert)
        if problem:
            problems.append(f"{name} {problem}")
        else:
            chosen[ours] = np.asarray(convert(found[name]), np.float32)
    if problems:
        raise ValueError(f"{path} does not fit the network:\n  " + "\n  ".join(problems))
    return chosen


def _misfit(array, shape, convert):
    """Returns why an array does not fit, or None if it does."""
    try:
        converted = np.shape(convert(array))
    except ValueError:  # another number of axes
        converted = None
    if converted != tuple(shape):
        return f"must become {tuple(shape)}. Received: {np.shape(array)}."
    if not np.isfinite(array).all():
        return f"must be finite. Received: {np.sum(~np.isfinite(array))} values that are not."
    return None


# === Layouts of PyTorch ===


def unchanged(array):
    """Returns an array as it is: a vector, or any array of TensorFlow."""
    return array


def from_oihw(kernel):
    """Converts the kernel of a convolution from OIHW to HWIO."""
    return np.transpose(kernel, (2, 3, 1, 0))


def from_linear(matrix):
    """Converts the matrix of a dense layer from [out, in] to [in, out]."""
    return np.transpose(matrix, (1, 0))
