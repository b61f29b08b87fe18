"""Command: send label PNGs or photographs to a served model, write the pictures that come back.

    python -m export.serving.client --url=http://localhost:8501/v1/models/oasis \\
        --label_space=DIR --labels=FILE|DIR --output=DIR [--seed --num_samples]

or `--grpc=HOST:PORT` in the place of `--url`. With `--task`

    synthesize   label PNGs (--labels) to images, `STEM_seedSEED.png`
    segment      photographs (--images) to label PNGs of raw ids, `STEM.png`
    recreate     photographs to label PNGs, `STEM_labels.png`, and to images generated from them

Label PNGs hold raw ids or palette colours, as for `python -m oasis_tf.synthesize`; the same label
map and seed give the same image as there. `--label_space` names what turns them into the model's
ids: an export's folder (its assets.extra/labels.json) or a model directory.

A file that fails is reported by name; the others are done, and the command ends with 1. A busy or
unreachable server is asked again, refusals are final. Nothing that exists is replaced unless
`--overwrite` is given; `--skip_existing` goes on with what is missing. REST needs no TensorFlow.
"""

import concurrent.futures
import dataclasses
import os
import re
import sys
from pathlib import Path

from absl import flags

from oasis_tf.cli import common_flags, runner
from oasis_tf.settings import path_flags

TASKS = ("synthesize", "segment", "recreate")
_SIZE = re.compile(r"(\d+)x(\d+)")
_PIXELS = 2**26  # most of a picture that comes back
_SIGNATURES = {"synthesize": "png", "segment": "png_segment", "recreate": "png_recreate"}


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    define_server_flags(where)
    flags.DEFINE_enum("task", "synthesize", TASKS, "What to ask for.", **where)
    path_flags.define_path(
        "labels", None, "Label PNG, or folder of label PNGs (with subfolders).", **where
    )
    path_flags.define_path("images", None, "Photograph, or folder of photographs.", **where)
    path_flags.define_path(
        "label_space",
        None,
        "Folder of an export (its assets.extra/labels.json) or model directory (config.json), or "
        "such a file.",
        required=True,
        **where,
    )
    path_flags.define_path("output", None, "Folder for the pictures.", required=True, **where)
    common_flags.define_label_format_flag(flag_values)
    flags.DEFINE_string(
        "size",
        "crop",
        "crop: everything is resized to the size trained on. native: files keep their sizes. "
        "HEIGHTxWIDTH: resized to that. The server takes multiples of 32.",
        **where,
    )
    flags.DEFINE_integer("seed", 0, "First noise seed.", lower_bound=0, **where)
    flags.DEFINE_integer(
        "num_samples", 1, "Images for each file: seeds --seed, --seed + 1, ...", lower_bound=1,
        **where,
    )  # fmt: skip
    flags.DEFINE_integer("concurrency", 4, "Most requests at a time.", 1, 256, **where)
    flags.DEFINE_bool("overwrite", False, "Replace files that exist; default: refuse.", **where)
    flags.DEFINE_bool("skip_existing", False, "Keep files that exist, make the rest.", **where)


def define_server_flags(where):
    """Defines the flags that name a server and say how to ask it."""
    flags.DEFINE_string("url", None, "The model by REST: http://HOST:PORT/v1/models/NAME.", **where)
    flags.DEFINE_string("grpc", None, "The server by gRPC: HOST:PORT.", **where)
    flags.DEFINE_string("model", "oasis", "Name of the model, for gRPC.", **where)
    flags.DEFINE_float(
        "timeout_s",
        60.0,
        "REST: longest silence of the server, in seconds. gRPC: seconds for all tries together.",
        lower_bound=0.01,
        **where,
    )
    flags.DEFINE_integer(
        "retries",
        3,
        "Repetitions while the server is busy or not reached, after pauses that double; gRPC does "
        "4 at most.",
        lower_bound=0,
        **where,
    )


@dataclasses.dataclass(frozen=True)
class Job:
    """One request: its input file, seed (None: none) and the files to be written.

    Attributes:
        image: path of the image, or None.
        labels: path of the label PNG, or None.
    """

    source: str
    seed: int | None
    image: str | None = None
    labels: str | None = None

    @property
    def outputs(self):
        """Paths of the files to be written."""
        return [path for path in (self.image, self.labels) if path]


@dataclasses.dataclass(frozen=True)
class Sender:
    """Does jobs over a connection.

    Args:
        connection: of `connections.connect`.
        task: one of `TASKS`.
        labels: `labels.ServedLabels`.
        size: (height, width), or None for the size that a file has.
        label_format: see `label_files.read_label_map`.
    """

    connection: object
    task: str
    labels: object
    size: tuple[int, int] | None = None
    label_format: str = "auto"

    @property
    def signature(self):
        """The signature that is asked."""
        return _SIGNATURES[self.task]

    def run(self, job):
        """Reads, asks, writes; files that exist are replaced.

        Raises:
            ValueError: an input that cannot be read, or an answer that is no picture.
            ServingError: no result.
            OSError: an output cannot be written.
        """
        from oasis_tf.io import images, label_files
        from oasis_tf.web.pictures import decode_ids, decode_image

        inputs = self._inputs(job.source)
        if job.seed is not None:
            inputs["seed"] = [job.seed]
        outputs = self.connection.predict(self.signature, inputs)
        if job.image:
            picture = outputs["image_bytes"][0]
            images.write_png(job.image, decode_image(picture, "The server's image_bytes", _PIXELS))
        if job.labels:
            ids = outputs["label_map_bytes"][0]
            label_map = decode_ids(ids, "The server's label_map_bytes", _PIXELS)
            label_files.write_label_map(job.labels, label_map, self.labels.space)

    def _inputs(self, source):
        from oasis_tf.io import images, label_files
        from oasis_tf.web.pictures import encode_png

        if self.task == "synthesize":
            label_map = label_files.read_label_map(source, self.labels.space, self.label_format)
            if self.size:
                label_map = label_files.resize_label_map(label_map, *self.size)
            return {"label_map_bytes": [encode_png(label_map)]}
        image = images.read_photograph(source)
        if self.size:
            image = images.resize_image(image, *self.size)
        return {"image_bytes": [encode_png(image)]}


def plan(task, sources, output_dir, seeds, *, overwrite=False, skip_existing=False):
    """The jobs that are to be done.

    Args:
        task: one of `TASKS`.
        sources: paths of the inputs, each with another stem.
        output_dir: folder of the outputs.
        seeds: ints, for the tasks that generate images.
        overwrite: whether existing files may be replaced.
        skip_existing: whether jobs whose files all exist are left out.

    Returns:
        list of `Job`.

    Raises:
        ValueError: outputs that are in the way of inputs, of each other, or exist.
        NotADirectoryError: the output is a file.
    """
    from oasis_tf.io import output_paths

    jobs = []
    for source in sources:
        start = os.path.join(output_dir, Path(source).stem)
        if task == "segment":
            jobs.append(Job(source, None, labels=f"{start}.png"))
            continue
        for k, seed in enumerate(seeds):
            label_path = f"{start}_labels.png" if task == "recreate" and k == 0 else None
            jobs.append(Job(source, seed, f"{start}_seed{seed}.png", label_path))
    output_paths.check_folder(output_dir)
    output_paths.check_outputs(
        [path for job in jobs for path in job.outputs],
        sources,
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    if skip_existing:
        jobs = [job for job in jobs if not all(map(os.path.exists, job.outputs))]
    return jobs


def run_jobs(sender, jobs, concurrency, done=lambda: None):
    """Does the jobs, `concurrency` at a time.

    Args:
        done: called after each of them.

    Returns:
        dict from the jobs that failed to what they failed from.
    """
    from export.serving.connections import ServingError

    def attempt(job):
        try:
            sender.run(job)
        except (ServingError, ValueError, OSError) as error:
            return job, error
        return job, None

    failed = {}
    pool = concurrent.futures.ThreadPoolExecutor(concurrency)
    try:
        for job, error in pool.map(attempt, jobs):
            if error:
                failed[job] = error
            done()
    finally:  # an interrupt must not wait for what has not begun
        pool.shutdown(cancel_futures=True)
    return failed


def chosen_size(text, labels):
    """(height, width) for a value of --size, None for native.

    Raises:
        ValueError: none of the forms.
    """
    if text == "native":
        return None
    if text == "crop":
        return labels.height, labels.width
    match = _SIZE.fullmatch(text)
    if not match or not all(map(int, match.groups())):
        raise ValueError(
            f"--size must be crop, native or HEIGHTxWIDTH, such as 256x512. Received: {text}"
        )
    return int(match[1]), int(match[2])


def _sources(args):
    from oasis_tf.io import label_files

    wanted, other = ("labels", "images") if args.task == "synthesize" else ("images", "labels")
    if not args[wanted].value or args[other].value:
        raise ValueError(f"--task={args.task} takes --{wanted}, not --{other}.")
    if wanted == "labels":
        return label_files.find_label_files(args.labels)
    return label_files.find_files(args.images, label_files.IMAGE_SUFFIXES, "photographs")


def server(args):
    """The connection that `define_server_flags`' flags name."""
    from export.serving.connections import connect

    return connect(
        args.url,
        args.grpc,
        model=args.model,
        timeout_s=args.timeout_s,
        retries=args.retries,
    )


def main(argv):
    """Checks everything, then asks."""
    del argv
    args = flags.FLAGS
    from export.serving import labels
    from export.serving.connections import ServingError
    from oasis_tf.io.progress import progress_bar

    served, sources = labels.read(args.label_space), _sources(args)
    jobs = plan(
        args.task,
        sources,
        args.output,
        range(args.seed, args.seed + args.num_samples),
        overwrite=args.overwrite,
        skip_existing=args.skip_existing,
    )
    size = chosen_size(args.size, served)
    with server(args) as connection:
        sender = Sender(connection, args.task, served, size, args.label_format)
        try:
            known = connection.signatures
        except ServingError as error:
            raise ValueError(f"The model cannot be asked: {error}") from error
        if sender.signature not in known:
            raise ValueError(
                f"The model has no signature {sender.signature}, which --task={args.task} needs. "
                f"It has: {', '.join(known)}."
            )
        with progress_bar(len(jobs), "request", "Asking") as bar:
            failed = run_jobs(sender, jobs, args.concurrency, bar.update)
    for job, error in failed.items():
        seed = "" if job.seed is None else f", seed {job.seed}"
        print(f"FAILED: {job.source}{seed}: {error}", file=sys.stderr)
    written = sum(len(job.outputs) for job in jobs if job not in failed)
    summary = f"Wrote {written} files to {args.output}"
    if failed:
        raise ValueError(f"{len(failed)} of {len(jobs)} requests failed. {summary}")
    print(summary)


if __name__ == "__main__":
    runner.run(main, define_flags)
