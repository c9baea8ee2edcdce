from __future__ import annotations

import pickle

from headstart.errors import ImageProblem


def test_an_image_problem_survives_its_way_between_processes() -> None:
    problem = pickle.loads(pickle.dumps(ImageProblem("/photos/a.jpg", "empty file")))
    assert (problem.uri, problem.reason, str(problem)) == ("/photos/a.jpg", "empty file", "/photos/a.jpg: empty file")
