"""Datasets as numpy arrays: published, synthetic, and the user's own. No torch.

One file each: `digits`, `idx` (MNIST, Fashion-MNIST), `cifar`, `functions`, `teachers`, `registered`;
`loading` finds the right one by name, `fetch` downloads what is published.
"""

from ipcore.data.dataset import Dataset, Split
from ipcore.data.loading import check_dataset, files_signature, load_dataset, registered_names

__all__ = ["Dataset", "Split", "check_dataset", "files_signature", "load_dataset", "registered_names"]
