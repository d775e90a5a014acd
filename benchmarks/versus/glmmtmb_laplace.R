# Adapter for glmmTMB: Laplace approximation with automatic differentiation.
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages({library(glmmTMB); library(jsonlite)})
spec <- fromJSON(arguments[1])
data <- read.csv(spec$data, stringsAsFactors = TRUE)
seconds <- sapply(seq_len(spec$repeats), function(i) system.time(suppressWarnings(suppressMessages(
  model <<- glmmTMB(as.formula(spec$formula), data, family = binomial))))[["elapsed"]])
write(toJSON(list(peer = "glmmTMB", version = as.character(packageVersion("glmmTMB")), seconds = I(seconds),
  method = "Laplace", llf = as.numeric(logLik(model)), std_err = TRUE), auto_unbox = TRUE, digits = NA), arguments[2])
