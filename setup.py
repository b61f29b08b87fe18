"""Packages and their data; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

# The flagfiles lie in `configs/` at the top of the repository, where people look for them, and are
# installed as data of the package: a wheel carries them as `oasis_tf/configs/`, so that
# `--flagfile=ade.flags` works outside the repository. In an editable install the package stays in
# the checkout and finds the folder beside it (`oasis_tf.cli.flagfiles.shipped_configs`).
setup(
    packages=[
        *find_packages(include=["oasis_tf", "oasis_tf.*", "export", "export.*"]),
        "oasis_tf.configs",
    ],
    package_dir={"oasis_tf.configs": "configs"},
    package_data={
        "export.serving": ["files/*"],
        "export.litert_js": ["LICENSE", "package.json", "package-lock.json"],
        "oasis_tf.configs": ["*.flags", "ablations/*.flags"],
        "oasis_tf.data": ["class_names/*.txt"],
        "oasis_tf.pretrained": ["[!_]*/*", "[!_]*/checkpoints/*/*", "[!_]*/examples/*"],
        "oasis_tf.systems.oasis.demo": ["page/*"],
        "oasis_tf.systems.one_shot.demo": ["page/*"],
        "oasis_tf.systems.few_shot.demo": ["page/*"],
        "oasis_tf.web": ["page/*"],
    },
)
