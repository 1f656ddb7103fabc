"""Feature networks, and the distances between sets of images or points, as torchmetrics metrics.

`registry` names the metrics and says how to add one; `metric_set` measures several in one pass; `features` gives the
networks that see images. Nothing is imported here: torchmetrics, scipy and torch-fidelity are slow to import.
"""
