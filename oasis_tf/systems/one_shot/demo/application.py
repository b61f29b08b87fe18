"""The demo of a model directory: the page, and what it must know of the model."""

from oasis_tf.systems.one_shot import palette
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.demo import contract
from oasis_tf.web.sampler_demo import SamplerDemo


def _facts(config):
    model = config.model
    # Colours of classes, by id; none without masks.
    colours = palette.colours()[: model.num_classes].tolist()
    return {"height": model.height, "width": model.width, "colours": colours}


def _load(model_dir, checkpoint):
    from oasis_tf.systems.one_shot.demo.signatures import Signatures
    from oasis_tf.systems.one_shot.loading import load_model

    return Signatures(load_model(model_dir, checkpoint))


_DEMO = SamplerDemo(
    package=__package__,
    config=Config,
    contract=contract,
    outputs=lambda config: contract.outputs(config.model.num_classes),
    facts=_facts,
    load=_load,
)
application, served = _DEMO.application, _DEMO.served
