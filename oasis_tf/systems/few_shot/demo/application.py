"""The demo of a model directory: the page, and what it must know of the model."""

from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.few_shot.demo import contract
from oasis_tf.web.sampler_demo import SamplerDemo


def _facts(config):
    return {
        "height": config.model.size,
        "width": config.model.size,
        "sliders": contract.SLIDERS,
        "adapted": config.adapted,
    }


def _load(model_dir, checkpoint):
    from oasis_tf.systems.few_shot.demo.signatures import Signatures
    from oasis_tf.systems.few_shot.loading import load_model

    return Signatures(load_model(model_dir, checkpoint))


_DEMO = SamplerDemo(
    package=__package__,
    config=Config,
    contract=contract,
    outputs=lambda config: contract.outputs(config.adapted),
    facts=_facts,
    load=_load,
)
application, served = _DEMO.application, _DEMO.served
