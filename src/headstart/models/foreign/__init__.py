"""Networks of other frameworks, frozen: ONNX, TensorFlow SavedModels, Keras. Only their head is torch's."""

from __future__ import annotations

from headstart.models.foreign.formats import is_foreign_file
from headstart.models.foreign.frozen import FrozenGraph
from headstart.models.foreign.loading import Foreign, load_foreign
from headstart.models.foreign.network import ForeignNetwork, build_foreign

__all__ = ["Foreign", "ForeignNetwork", "FrozenGraph", "build_foreign", "is_foreign_file", "load_foreign"]
