"""OASIS' training iteration and generation on Keras' JAX backend, without TensorFlow.

Networks, layers, losses, objective and Adam are the project's own. What is written here is the step
that `oasis_tf/systems/oasis/models/iteration.py` takes on TensorFlow: the order of its passes, what
gradients are taken of, and the moving average. State goes in and comes out, as XLA wants it.

`environment.use_jax()` comes before the import of this module.
"""

import jax
import numpy as np
from keras import ops

from oasis_tf.systems.oasis import losses, parts
from oasis_tf.training.averages import average_of
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.precision import policy

# What JAX calls the precision of products of float32 numbers; None: as the device likes it.
PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}


class JaxOASIS:
    """The parts of OASIS, and its iteration as a pure function of their state.

    The state is a dict: of every network in `networks` and of every optimizer in `optimizers` a
    dict from names to arrays, the names of checkpoints.

    Args:
        generator, discriminator: networks; without a discriminator the model can only generate.
        objective: ``SegmentationObjective``.
        adam: function (learning rate, name) -> optimizer.
        lr_g, lr_d: floats.
        lambda_labelmix: float >= 0; 0: no LabelMix.
        ema_decay: float in [0, 1).
    """

    def __init__(
        self, generator, discriminator, objective, adam, lr_g, lr_d, lambda_labelmix, ema_decay
    ):
        self.generator, self.discriminator = generator, discriminator
        self.generator_ema = average_of(generator, "generator_ema")
        self.objective = objective
        self.lambda_labelmix, self.ema_decay = lambda_labelmix, ema_decay
        self.networks = {"generator": generator, "generator_ema": self.generator_ema}
        self.optimizers = {}
        if discriminator is not None:
            self.networks["discriminator"] = discriminator
            for name, rate in (("generator", lr_g), ("discriminator", lr_d)):
                optimizer = adam(rate, f"{name}_optimizer")
                optimizer.build(self.networks[name].trainable_variables)
                self.optimizers[optimizer.name] = optimizer

    @classmethod
    def from_config(cls, config, one_hot=None):
        """With freshly drawn weights; ``one_hot`` as in ``Generator``.

        Raises:
            ValueError: a ``Config`` of other parts, losses or precisions than this iteration has.
        """
        check(config)
        training = config.training
        dtype = policy(training.mixed_precision)
        generator, discriminator, _ = parts.make_networks(config, one_hot, dtype=dtype)
        return cls(
            generator,
            discriminator,
            parts.make_objective(config.model),
            lambda rate, name: Adam(rate, training.beta_1, training.beta_2, name=name),
            training.lr_g,
            training.lr_d,
            training.lambda_labelmix if training.consistency == "labelmix" else 0.0,
            training.ema_decay,
        )

    # === State ===

    def state(self):
        """The state as it is in the variables. JAX takes its arrays when they are donated."""
        found = {name: _values(named_weights(part)) for name, part in self.networks.items()}
        return found | {
            name: _values(_optimizer_weights(part)) for name, part in self.optimizers.items()
        }

    def assign(self, state):
        """Gives the variables of the networks the values of a state."""
        for name, network in self.networks.items():
            for key, variable in named_weights(network).items():
                variable.assign(state[name][key])

    # === The iteration ===

    def iteration(self, state, batch):
        """G step, D step, average: one iteration with given draws (spec: "Losses").

        Args:
            state: as `state` returns it.
            batch: dict with ``image`` [B, H, W, 3], uint8 or float in [-1, 1], ``label_map`` int32
                [B, H, W], ``noise`` and ``discriminator_noise`` float [B, Z] and ``labelmix_bits``
                int32 [N].

        Returns:
            (new state, dict of scalars by the names that training logs).
        """
        return self.iteration_with_gradients(state, batch)[:2]

    def iteration_with_gradients(self, state, batch):
        """What `iteration` returns, and the gradients of both steps: by network, by name."""
        dtype = self.discriminator.variable_dtype
        image = batch["image"]
        if image.dtype == np.uint8:
            image = ops.cast(image, dtype) / 127.5 - 1.0
        targets = self.objective.targets(batch["label_map"], 1, dtype)
        state, logs, of_generator = self._generator_step(state, batch, targets)
        state, more, of_discriminator = self._discriminator_step(state, image, batch, targets)
        state = state | {"generator_ema": self._average(state)}
        gradients = {"generator": of_generator, "discriminator": of_discriminator}
        return state, logs | more, gradients

    def _generator_step(self, state, batch, targets):
        def loss_of(weights):
            fake, generator = self._generated(state["generator"] | weights, batch, "noise")
            logits, discriminator = _call(self.discriminator, state["discriminator"], fake)
            moved = {"generator": generator, "discriminator": discriminator}
            return self.objective.generator_loss(logits, targets), moved

        weights = _trained(self.generator, state["generator"])
        (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        state = self._stepped(_joined(state, moved), "generator", gradients)
        return state, {"loss_g": loss}, gradients

    def _discriminator_step(self, state, image, batch, targets):
        fake, moved = self._generated(state["generator"], batch, "discriminator_noise")
        state, fake = _joined(state, {"generator": moved}), jax.lax.stop_gradient(fake)
        mask = losses.labelmix_mask(batch["label_map"], batch["labelmix_bits"], image.dtype)

        def loss_of(weights):
            values, logits = state["discriminator"] | weights, []
            seen = [fake, image]
            seen += [losses.mix(mask, image, fake)] if self.lambda_labelmix else []
            for pictures in seen:  # each with a power iteration of its own
                found, moved = _call(self.discriminator, values, pictures)
                values = values | moved
                logits.append(found)
            of_fake, of_real = self.objective.discriminator_losses(*logits[:2], targets)
            consistency = ops.zeros_like(of_real)
            if self.lambda_labelmix:
                distance = losses.labelmix_loss(logits[2], mask, logits[1], logits[0])
                consistency = self.lambda_labelmix * distance
            accuracy_fake, accuracy_real = self.objective.accuracies(*logits[:2], targets)
            logs = {
                "loss_d_fake": of_fake,
                "loss_d_real": of_real,
                "loss_labelmix": consistency,
                "loss_d": of_fake + of_real + consistency,
                "accuracy_real": accuracy_real,
                "accuracy_fake": accuracy_fake,
            }
            return logs["loss_d"], (logs, {"discriminator": moved})

        weights = _trained(self.discriminator, state["discriminator"])
        (_, (logs, moved)), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        return self._stepped(_joined(state, moved), "discriminator", gradients), logs, gradients

    def _stepped(self, state, name, gradients):
        """The state after a step of the optimizer of a network."""
        optimizer, of_optimizer = self.optimizers[f"{name}_optimizer"], state[f"{name}_optimizer"]
        # By name: JAX sorts the keys of a dict, and with them its values.
        names, own = list(_trained(self.networks[name], state[name])), _optimizer_weights(optimizer)
        weights, variables = optimizer.stateless_apply(
            [of_optimizer[key] for key in own],
            [gradients[key] for key in names],
            [state[name][key] for key in names],
        )
        return state | {
            name: state[name] | dict(zip(names, weights, strict=True)),
            f"{name}_optimizer": dict(zip(own, variables, strict=True)),
        }

    def _average(self, state):
        """EMA over the whole state of the generator: kernels, u, v, batch statistics."""
        return {
            name: self.ema_decay * average + (1 - self.ema_decay) * state["generator"][name]
            for name, average in state["generator_ema"].items()
        }

    # === Images ===

    def average_moved(self, average, batch):
        """The averaged generator's values after a training pass, which moves its statistics."""
        return average | self._generated(average, batch, "noise", self.generator_ema)[1]

    def generate(self, average, batch):
        """Images float32 [B, H, W, 3] by the averaged generator's values."""
        return self._generated(average, batch, "noise", self.generator_ema, training=False)[0]

    def _generated(self, values, batch, noise, generator=None, training=True):
        inputs = [batch["label_map"]]
        inputs += [batch[noise]] if self.generator.noise_channels else []
        return _call(generator or self.generator, values, *inputs, training=training)


def check(config):
    """Raises ValueError if a ``Config`` has other parts than `JaxOASIS.iteration`."""
    model, training = config.model, config.training
    rules = {
        "generator": (model.generator, ("oasis",)),
        "encoder": (model.encoder, ("none",)),
        "noise": (model.noise, ("none", "image")),
        "discriminator": (model.discriminator, ("oasis",)),
        "label_encoding": (model.label_encoding, ("balanced", "n_plus_1")),
        "consistency": (training.consistency, ("none", "labelmix")),
        "labelmix_bits": (training.labelmix_bits, ("batch",)),
        "lambda_feature_matching": (training.lambda_feature_matching, (0,)),
        "lambda_vgg": (training.lambda_vgg, (0,)),
        "augmentation": (training.augmentation, ("none",)),
        "ema_warmup": (training.ema_warmup, (False,)),
        "mixed_precision": (training.mixed_precision, ("none", "bfloat16")),
        "remat": (training.remat, (False,)),
    }
    for name, (value, allowed) in rules.items():
        if value not in allowed:
            raise ValueError(
                f"On JAX there is OASIS itself, without its variants: --{name} must be "
                f"{' or '.join(map(str, allowed))}. Received: {name}={value}."
            )


def compiled(function, *arguments, precision="float32", donate=()):
    """An XLA executable of a function for arguments like these; they are not computed with.

    Args:
        function: of pytrees of arrays.
        *arguments: what it will be called with, or ``jax.ShapeDtypeStruct``.
        precision: of `PRODUCTS`.
        donate: numbers of the arguments whose memory it may take.
    """
    with jax.default_matmul_precision(PRODUCTS[precision]):
        return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()


def memory_bytes(executable):
    """What XLA says that an executable needs: dict of bytes; ``total`` counts no byte twice.

    None where it says nothing, which it may of an executable out of JAX's cache.
    """
    found = executable.memory_analysis()
    if found is None:
        return None
    parts_of = {
        "arguments": found.argument_size_in_bytes,
        "outputs": found.output_size_in_bytes,
        "in_place": found.alias_size_in_bytes,
        "temporary": found.temp_size_in_bytes,
    }
    total = parts_of["arguments"] + parts_of["outputs"] - parts_of["in_place"]
    return parts_of | {"total": total + parts_of["temporary"]}


# === Networks as functions of their values ===


def _call(network, values, *inputs, training=True):
    """(output, the values that the pass moved) of a network with these values."""
    names = _names(network)
    trained, others = ([names[id(v)] for v in of] for of in _split(network))
    output, moved = network.stateless_call(
        [values[name] for name in trained],
        [values[name] for name in others],
        *inputs,
        training=training,
    )
    return output, dict(zip(others, moved, strict=True))


def _trained(network, values):
    names = _names(network)
    return {names[id(v)]: values[names[id(v)]] for v in network.trainable_variables}


def _split(network):
    return network.trainable_variables, network.non_trainable_variables


def _names(network):
    return {id(variable): name for name, variable in named_weights(network).items()}


def _optimizer_weights(optimizer):
    return {variable.path: variable for variable in optimizer.variables}


def _values(variables):
    return {name: variable.value for name, variable in variables.items()}


def _joined(state, moved):
    return state | {name: state[name] | values for name, values in moved.items()}
