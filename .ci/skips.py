"""Prints the skipped tests of JUnit reports with their reasons; fails on a reason that is new.

    python .ci/skips.py REPORT.xml …

A line of skips.txt beside this file is a regular expression that a whole reason may match.
"""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def skips(report):
    """(test, reason) of every test of a report that did not run."""
    for case in ElementTree.parse(report).iter("testcase"):
        for skip in case.iter("skipped"):
            reason = skip.get("message")
            if reason == "collection skipped":  # a whole file: the text is (file, line, reason)
                reason = ast.literal_eval(skip.text)[2].removeprefix("Skipped: ")
            yield f"{case.get('classname')}::{case.get('name')}".removeprefix("::"), reason


def main(reports):
    lines = Path(__file__).with_name("skips.txt").read_text().splitlines()
    expected = [re.compile(line) for line in lines if line and not line.startswith("#")]
    found = [skip for report in reports for skip in skips(report)]
    print(f"Skipped: {len(found)}")
    new = [skip for skip in found if not any(one.fullmatch(skip[1]) for one in expected)]
    for skip in found:
        print("  NOT EXPECTED" if skip in new else "  expected", *skip, sep=": ")
    if new:
        sys.exit("Install what they need, or add their reason to .ci/skips.txt if CI cannot.")


if __name__ == "__main__":
    main(sys.argv[1:])
