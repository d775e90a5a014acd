# Adapter for lme4: glmer with 7 points on one scalar effect, Laplace beyond (lme4 has no AGQ there).
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages({library(lme4); library(jsonlite)})
spec <- fromJSON(arguments[1])
data <- read.csv(spec$data, stringsAsFactors = TRUE)
one <- length(spec$groups) == 1 && is.null(spec$slope)
points <- if (one) spec$points else 1
seconds <- sapply(seq_len(spec$repeats), function(i) system.time(suppressWarnings(suppressMessages(
  model <<- glmer(as.formula(spec$formula), data, family = binomial, nAGQ = points))))[["elapsed"]])
write(toJSON(list(peer = "lme4", version = as.character(packageVersion("lme4")), seconds = I(seconds),
  method = if (one) paste("AGQ,", points, "points") else "Laplace (no AGQ here)", llf = as.numeric(logLik(model)),
  std_err = TRUE), auto_unbox = TRUE, digits = NA), arguments[2])
