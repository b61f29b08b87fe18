"""What exports of `few_shot` have: signatures, and the network of TFLite files."""
