"""What the training loop needs to know of a model."""

import abc


class Task(abc.ABC):
    """A model in training, as the loop sees it.

    A system's task says how its model is trained and what its state is. Whatever else it leaves to
    the defaults here, its runs do not have: no pictures, no numbers beside the metrics.

    Attributes:
        divergence_advice: what to change when a loss is no longer finite, for the error's text.
    """

    divergence_advice = "with lower learning rates"

    @abc.abstractmethod
    def batches(self, start_step):
        """Endless iterable of distributed global batches, from that of ``start_step`` on."""

    @abc.abstractmethod
    def train_step(self, batch):
        """Runs one step.

        Returns:
            scalar tensors by name, each the global batch's. A metric may be absent at a step: it is
            averaged over the steps that have it.
        """

    @abc.abstractmethod
    def variables(self):
        """Every variable that makes up the state of training, by a stable name."""

    def start(self):
        """The checkpoint of step 0 of a new run, if it starts from other weights than those drawn.

        It is written before the first step, so that the run needs nothing else when it continues.
        With several workers, that of the chief is everyone's.

        Returns:
            arrays by name, of ``variables`` and of ``inference_arrays``; or None.

        Raises:
            ValueError, OSError: where the weights are from cannot be read, or does not fit.
        """
        return None

    def inference_arrays(self, step):
        """What the trained model needs for use beyond ``variables``, by name."""
        del step
        return {}

    def global_batch(self, step):
        """The whole batch that ``step`` (1 is the first) took: arrays by name.

        It is kept when the step gave a loss that is not finite.
        """
        del step
        return {}

    def facts(self):
        """Numbers to show once, at the start of a run, by name."""
        return {}

    def scalars(self):
        """Numbers to show beside the metrics whenever those are shown, by name."""
        return {}

    def symptom(self, step, averages):
        """What is wrong with a run that shows these means, and the remedy, in one line.

        The loop says it once, if it lasts (``oasis_tf.training.symptoms``). Losses that are not
        finite end a run anyway.

        Args:
            step: int, the last one of the means.
            averages: means of the metrics since the line before, by name.

        Returns:
            str, or None if nothing is.
        """
        del step, averages
        return None

    def pictures(self, step):
        """uint8 pictures [H, W, 3] of what the model does after ``step`` steps, by name."""
        del step
        return {}

    def prepare_measuring(self, model_dir, workers):
        """Makes ready for ``measure``, which may cost; refuses here what cannot be measured.

        Args:
            model_dir: str.
            workers: ``Workers``.

        Raises:
            ValueError, OSError: a metric cannot work; by default always.
        """
        raise ValueError(
            "`eval_every` needs a system that measures its model while training, and this one does "
            "not. Leave --eval_every out."
        )

    def measure(self, step):
        """Values by name on the chief, nothing on other workers; all of them take part.

        Args:
            step: int, that the weights are of.
        """
        raise NotImplementedError
