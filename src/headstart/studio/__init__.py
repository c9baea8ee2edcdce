"""``headstart studio``: label, train and try images in the browser; routes, events and templates over a project."""
