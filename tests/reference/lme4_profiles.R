# Records profile-likelihood intervals of lme4 for tests/inference/test_profiles.py.
# Run from this folder: Rscript lme4_profiles.R > lme4_profiles.json
suppressPackageStartupMessages(library(lme4))
control <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(maxfun = 1e5, rhoend = 1e-9),
                        check.conv.grad = "ignore", check.conv.hess = "ignore")

record <- function(name, formula, data, nAGQ, family = binomial) {
  m <- glmer(formula, data = data, family = family, nAGQ = nAGQ, control = control)
  pr <- suppressWarnings(profile(m, delta = 0.2, maxpts = 200))
  ci <- suppressWarnings(confint(pr, level = 0.95))
  rows <- sprintf('    "%s": [%.10g, %.10g]', rownames(ci), ci[, 1], ci[, 2])
  sprintf('  "%s": {\n   "formula": "%s", "nAGQ": %d, "loglik": %.10g,\n   "intervals": {\n%s\n   }\n  }',
    name, deparse1(formula), nAGQ, as.numeric(logLik(m)), paste(rows, collapse = ",\n"))
}

cbpp <- read.csv("data/cbpp.csv"); cbpp$period <- factor(cbpp$period)
bacteria <- read.csv("data/bacteria.csv")
slopes <- read.csv("data/slopes.csv")
out <- c(
  record("cbpp", cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, 25),
  record("bacteria", present ~ week + (1 | ID), bacteria, 25),
  record("cbpp_zero", cbind(incidence, size - incidence) ~ period + (1 | half), transform(cbpp, half = herd %% 5), 25),
  record("slopes", y ~ t + x + (t | g), slopes, 1)
)
cat("{\n", sprintf('  "lme4": "%s",\n', packageVersion("lme4")), paste(out, collapse = ",\n"), "\n}\n", sep = "")
