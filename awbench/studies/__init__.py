"""What is run to answer a question, decided before the first result: networks, recipe, seeds, looks."""

from awbench.studies.design import GIVEN, Comparison, Network
from awbench.studies.study import (
    Study,
    beside,
    find_study,
    list_studies,
    load_studies,
    load_study,
)

__all__ = [
    "GIVEN",
    "Comparison",
    "Network",
    "Study",
    "beside",
    "find_study",
    "list_studies",
    "load_studies",
    "load_study",
]
