"""How large, how quick and how exact a TFLite file is, against the engine it was made from."""

import time

import numpy as np

# PSNR in dB that images of a trained model must reach, and the largest error of float32.
LARGEST_ERROR = 1e-4
LEAST_PSNR = {"float16": 60, "dynamic": 40}


def runner(contents, threads):
    """function(**inputs) -> dict of arrays, by the file's one signature."""
    from ai_edge_litert.interpreter import Interpreter  # an extra: files are made without it

    return Interpreter(model_content=contents, num_threads=threads).get_signature_runner()


class Reference:
    """What the engine gives for some examples, once for all files.

    Args:
        network: `Network`.
        examples: list of (inputs, true label map int [1, H, W]).
        label_space: `LabelSpace`, whose unknown class is not scored; None without label maps.
        repeats: how often each example is timed.
    """

    def __init__(self, network, examples, label_space, repeats=3):
        self.network, self._repeats, self._space = network.name, repeats, label_space
        self._examples = examples
        reference = lambda **inputs: network.reference(**inputs)  # noqa: E731
        self._outputs, self._milliseconds = self._run(reference)
        self._bytes = sum(weight.numpy().nbytes for weight in network.weights.values())

    def row(self):
        """The engine's own row: MB of its weights, ms and, of a segmenter, mIoU."""
        return (
            {"file": "engine", "megabytes": self._bytes / 1e6}
            | self._times(self._milliseconds)
            | self._quality(self._outputs)
        )

    def measure(self, contents, threads):
        """A file's row.

        Args:
            contents: bytes of the file.
            threads: int, of the LiteRT runtime.

        Returns:
            dict of numbers: `megabytes`, `milliseconds_min` and `_median`, `max_error`,
            `mean_error` and `psnr` (dB, None if nothing differs; of `image` in [-1, 1] or of
            `fake_probability`); of labels or masks also `equal_labels` (share); of a segmenter also
            `miou`.
        """
        outputs, milliseconds = self._run(runner(contents, threads))
        row = {"megabytes": len(contents) / 1e6} | self._times(milliseconds)
        return row | self._errors(outputs) | self._quality(outputs)

    def _run(self, call):
        call(**self._examples[0][0])  # allocates
        outputs, milliseconds = [], []
        for inputs, _ in self._examples:
            for _ in range(self._repeats):
                start = time.perf_counter()
                output = call(**inputs)
                milliseconds.append(1000 * (time.perf_counter() - start))
            outputs.append(output)
        return outputs, milliseconds

    def _times(self, milliseconds):
        low, middle = min(milliseconds), float(np.median(milliseconds))
        return {"milliseconds_min": low, "milliseconds_median": middle}

    def _errors(self, outputs):
        name, span = {"generator": ("image", 2), "segmenter": ("fake_probability", 1)}[self.network]
        pairs = zip(outputs, self._outputs, strict=True)
        errors = np.stack([np.abs(ours[name] - theirs[name]) for ours, theirs in pairs])
        square = np.square(errors.astype(np.float64)).mean()
        psnr = float(10 * np.log10(span**2 / square)) if square else None
        found = {"max_error": float(errors.max()), "mean_error": float(errors.mean()), "psnr": psnr}
        for labels in {"label_map", "mask"} & set(outputs[0]):
            pairs = zip(outputs, self._outputs, strict=True)
            equal = [np.mean(ours[labels] == theirs[labels]) for ours, theirs in pairs]
            found["equal_labels"] = float(np.mean(equal))
        return found

    def _quality(self, outputs):
        if self.network != "segmenter":
            return {}
        from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix

        ignored = (0,) if self._space.has_unknown else ()
        matrix = ConfusionMatrix(self._space.num_classes, ignored)
        for output, (_, truth) in zip(outputs, self._examples, strict=True):
            matrix.update(truth, output["label_map"])
        return {"miou": matrix.mean_iou()}


def remarks(network, quantize, row):
    """Lines about bounds that a generator's file misses, and about what int8 loses."""
    if network != "generator" or row["psnr"] is None:
        return []
    psnr, error, lines = row["psnr"], row["max_error"], []
    if quantize == "none" and error > LARGEST_ERROR:
        lines.append(f"WARNING: none: max error {error:.1e} is above {LARGEST_ERROR:.0e}.")
    if psnr < LEAST_PSNR.get(quantize, -np.inf):
        lines.append(f"WARNING: {quantize}: PSNR {psnr:.1f} dB is below {LEAST_PSNR[quantize]} dB.")
    if quantize == "int8":
        lines.append(f"int8 can be seen to lose: PSNR {psnr:.1f} dB, max error {error:.2f}.")
    return lines


_COLUMNS = {
    "file": ("file", "{}"),
    "megabytes": ("MB", "{:.2f}"),
    "milliseconds_min": ("ms min", "{:.1f}"),
    "milliseconds_median": ("ms median", "{:.1f}"),
    "max_error": ("max error", "{:.1e}"),
    "mean_error": ("mean error", "{:.1e}"),
    "psnr": ("PSNR dB", "{:.1f}"),
    "equal_labels": ("equal labels", "{:.2%}"),
    "miou": ("mIoU", "{:.3f}"),
}


def table(rows):
    """Rows as a Markdown table."""
    columns = {key: value for key, value in _COLUMNS.items() if any(key in row for row in rows)}
    lines = ["| " + " | ".join(title for title, _ in columns.values()) + " |"]
    lines.append("| --- |" + " ---: |" * (len(columns) - 1))
    for row in rows:
        cells = [
            form.format(row[key]) if row.get(key) is not None else "–"
            for key, (_, form) in columns.items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
