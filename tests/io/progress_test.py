"""Progress in a log: whole lines, few of them, the last one complete."""

import re

from oasis_tf.io.progress import progress_bar


def test_a_log_gets_plain_lines(capsys):
    with progress_bar(2000, "image", "generating") as progress:
        for _ in range(2000):
            progress.update()
    text = capsys.readouterr().err
    assert "\r" not in text
    assert text.endswith("\n")
    lines = text.splitlines()
    assert len(lines) <= 3
    assert lines[0].startswith("generating: 0/2000 [00:00<")
    assert re.fullmatch(r"generating: 2000/2000 \[00:0\d<.*image/s\]", lines[-1])
