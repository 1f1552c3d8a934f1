"""Training sets that an annotator builds case by case; standard library only."""
