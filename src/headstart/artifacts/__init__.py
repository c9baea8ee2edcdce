"""What a fit leaves behind: the classifier and the run folder."""
