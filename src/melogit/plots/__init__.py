"""Tables to figures with matplotlib, the only room that draws. Knows nothing of models or fits."""
