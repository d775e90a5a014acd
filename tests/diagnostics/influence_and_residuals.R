# Recorded answers for the checks of influence and of residuals. Run in this folder: Rscript influence_and_residuals.R
# 1. lme4: the model of the bacteria data without each subject, and without some rows, fitted anew (nAGQ = 25).
# 2. Tests of quantile residuals as DHARMa 0.4 defines them (scaled residuals by PIT; ks.test; ratio of variances around
#    the fitted response with a simulated p-value; binomial test of residuals within 1 / (nSim + 1) of 0 or 1), written
#    out here with base R because the package is not part of the distribution.
suppressMessages({library(lme4); library(jsonlite)})

bacteria <- read.csv("../reference/data/bacteria.csv")
control <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 1e-3, rhoend = 1e-9, maxfun = 1e5))
fit <- function(data, nAGQ = 25) suppressMessages(suppressWarnings(
  glmer(present ~ week + (1 | ID), data, family = binomial, nAGQ = nAGQ, control = control)))
numbers <- function(m) c(fixef(m), as.numeric(VarCorr(m)$ID))
full <- fit(bacteria)
ids <- unique(as.character(bacteria$ID))
groups <- sapply(ids, function(id) numbers(fit(bacteria[bacteria$ID != id, ])) - numbers(full))
rows <- c(1, 5, 20, 77, 128, 200)
deleted <- sapply(rows, function(i) numbers(fit(bacteria[-i, ])) - numbers(full))

set.seed(7)
n <- 150; S <- 60; trials <- 8
mu <- plogis(rnorm(n)); drawn <- matrix(rbinom(n * S, trials, mu), n)
observed <- rbinom(n, trials, plogis(qlogis(mu) + rnorm(n, 0, 0.6)))
uniform <- runif(n)
tests <- function(observed, drawn, fitted) {
  low <- rowMeans(drawn < observed); upto <- rowMeans(drawn <= observed)
  residuals <- low + uniform[seq_along(low)] * (upto - low)
  ks <- suppressWarnings(ks.test(residuals, "punif"))
  spread <- function(x) var(x - fitted)
  simulated <- apply(drawn, 2, spread)
  p <- min(min(mean(simulated <= spread(observed)), mean(simulated >= spread(observed))) * 2, 1)
  out <- sum(residuals < 1 / (S + 1)) + sum(residuals > 1 - 1 / (S + 1))
  list(residuals = residuals, ks = c(unname(ks$statistic), ks$p.value),
       dispersion = c(spread(observed) / mean(simulated), p),
       outliers = c(out / length(observed), binom.test(out, length(observed), 2 / (S + 1))$p.value))
}
few <- 1:40
write_json(list(
  software = paste("R", getRversion(), "lme4", packageVersion("lme4")),
  full = unname(numbers(full)), ids = ids, groups = unname(t(groups)), rows = rows, deleted = unname(t(deleted)),
  observed = observed, drawn = drawn, uniform = uniform, fitted = trials * mu,
  all = tests(observed, drawn, trials * mu), few = tests(observed[few], drawn[few, ], (trials * mu)[few]),
  binomial = sapply(0:30, function(k) binom.test(k, 150, 0.05)$p.value)
), "influence_and_residuals.json", digits = NA, auto_unbox = TRUE)
