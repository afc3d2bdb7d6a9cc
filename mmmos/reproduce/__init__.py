"""The verb `reproduce`: the paper's tables and claims from clips and weights, made of the other verbs."""
