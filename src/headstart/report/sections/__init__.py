"""The sections of the page, in their order. A new one is a class like these and a call of `register_section`."""

from headstart.report.sections.base import Section, register_section, registered_sections
from headstart.report.sections.class_metrics import ClassMetricsTable
from headstart.report.sections.confused_pairs import ConfusedPairs
from headstart.report.sections.confusion_matrix import ConfusionMatrix
from headstart.report.sections.metrics import Metrics
from headstart.report.sections.predictions import ExamplePredictions
from headstart.report.sections.provenance import Provenance
from headstart.report.sections.reliability import Reliability
from headstart.report.sections.samples import Samples
from headstart.report.sections.skipped_images import SkippedImages
from headstart.report.sections.training import Training
from headstart.report.sections.uncertainty import Uncertainty
from headstart.report.sections.usage import Usage

__all__ = ["Section", "register_section", "registered_sections"]

for _section in (
    Metrics(),
    Samples(),
    ExamplePredictions(),
    ConfusedPairs(),
    ConfusionMatrix(),
    ClassMetricsTable(),
    Reliability(),
    Uncertainty(),
    Usage(),
    Training(),
    SkippedImages(),
    Provenance(),
):
    register_section(_section)
