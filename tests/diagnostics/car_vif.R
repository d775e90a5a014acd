# Records (generalised) variance inflation factors of car::vif for tests/diagnostics/test_collinearity.py.
# Run from this folder: Rscript car_vif.R > car_vif.json
# hdp.csv is the public teaching data set beside the repository; it is read, not copied.
suppressPackageStartupMessages({library(lme4); library(car)})
control <- glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-9),
                        check.conv.grad = "ignore", check.conv.hess = "ignore")

record <- function(name, formula, ours, data, nAGQ) {
  found <- vif(glmer(formula, data = data, family = binomial, nAGQ = nAGQ, control = control))
  if (is.null(dim(found))) found <- cbind(GVIF = found, Df = 1)
  rows <- sprintf('    "%s": [%.10g, %d]', rownames(found), found[, 1], as.integer(found[, 2]))
  sprintf('  "%s": {\n   "formula": "%s", "nAGQ": %d,\n   "vif": {\n%s\n   }\n  }', name, ours, nAGQ,
          paste(rows, collapse = ",\n"))
}

bacteria <- read.csv("../reference/data/bacteria.csv")
bacteria$week2 <- bacteria$week^2
hdp <- read.csv("../../../shared/data/hdp.csv", stringsAsFactors = TRUE)
out <- c(
  record("bacteria", present ~ week + week2 + trt + (1 | ID), "present ~ week + week2 + trt + (1 | ID)", bacteria, 25),
  record("hdp", remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID),
         "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)", hdp, 9)
)
cat("{\n", sprintf('  "car": "%s", "lme4": "%s",\n', packageVersion("car"), packageVersion("lme4")),
    paste(out, collapse = ",\n"), "\n}\n", sep = "")
