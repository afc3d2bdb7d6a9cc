"""The verb `train`: from somebody's ratings to a predictor, by the verbs that there are."""
