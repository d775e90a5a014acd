"""Small teaching data with known truth, and the public hospital data of UCLA.

``load_dataset`` reads them; ``dataset_names`` and ``dataset_facts`` tell what there is.
"""

from melogit.datasets.load import dataset_facts, dataset_names, load_dataset

__all__ = ["dataset_facts", "dataset_names", "load_dataset"]
