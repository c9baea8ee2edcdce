"""Follow fits in the tools that a team looks at. A new one is a class like the built-in one, and is registered."""

from headstart.tracking.base import Tracker, Tracking, final_metrics, register_tracker, tracker_named, trackers
from headstart.tracking.mlflow import MlflowTracker
from headstart.tracking.tensorboard import TensorBoardTracker
from headstart.tracking.trackio import TrackioTracker

__all__ = ["Tracker", "Tracking", "final_metrics", "register_tracker", "tracker_named", "trackers"]

register_tracker(MlflowTracker())
register_tracker(TensorBoardTracker())
register_tracker(TrackioTracker())
