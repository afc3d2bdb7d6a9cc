"""The parts of a sweep that are not training: space, objective, study, journal."""
