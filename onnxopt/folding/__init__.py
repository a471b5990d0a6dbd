"""Computing what a model computes from constants alone: what folding passes share."""
