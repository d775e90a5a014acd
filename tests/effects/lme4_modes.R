# Conditional modes and predictions of lme4 (Laplace), for test_against_lme4.py.
# Run in this folder: Rscript lme4_modes.R
suppressMessages(library(lme4))
library(jsonlite)

fitted <- function(m) {
  effects <- lapply(ranef(m, condVar = TRUE), function(x) {
    list(level = rownames(x), mode = x[[1]], sd = sqrt(as.vector(attr(x, "postVar"))))
  })
  list(
    beta = unname(fixef(m)), theta = unname(getME(m, "theta")), effects = effects,
    conditional = unname(predict(m, type = "response")), fixed = unname(predict(m, type = "response", re.form = NA))
  )
}

cbpp <- read.csv("../reference/data/cbpp.csv")
cbpp$period <- factor(cbpp$period)
ticks <- read.csv("../reference/data/grouseticks.csv")
control <- glmerControl(tolPwrss = 1e-12)
answers <- list(
  about = "Written by lme4_modes.R: fixed effects, theta, conditional modes and their standard deviations, predictions",
  R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  cbpp = fitted(glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, control)),
  ticks = fitted(glmer(any ~ YEAR + height + (1 | LOCATION / BROOD), ticks, binomial, control))
)
write(toJSON(answers, digits = 12, auto_unbox = TRUE), "lme4_modes.json")
