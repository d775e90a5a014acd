# glmmTMB's answer on lme4's InstEval (73,421 ratings, 2,972 students x 1,128 lecturers), its rating made binary.
# Run from this folder:  Rscript insteval.R          writes insteval.json (a minute or two)
#                        Rscript insteval.R FILE     writes the data to FILE, too large to be kept here
suppressPackageStartupMessages({library(lme4); library(glmmTMB); library(jsonlite)})
ratings <- data.frame(good = as.integer(InstEval$y >= 4), service = as.integer(as.character(InstEval$service)),
                      s = as.character(InstEval$s), d = as.character(InstEval$d))
file <- commandArgs(TRUE)
if (length(file)) {
  write.csv(ratings, file[1], row.names = FALSE, quote = FALSE)
} else {
  model <- glmmTMB(good ~ service + (1 | s) + (1 | d), ratings, family = binomial)
  record <- list(about = "glmmTMB on lme4's InstEval: good ~ service + (1 | s) + (1 | d). Made by insteval.R.",
                 glmmTMB = as.character(packageVersion("glmmTMB")), loglik = as.numeric(logLik(model)),
                 fixed = as.list(fixef(model)$cond), std_err = as.list(sqrt(diag(vcov(model)$cond))),
                 variance = lapply(VarCorr(model)$cond, as.numeric))
  write(toJSON(record, auto_unbox = TRUE, digits = 12, pretty = TRUE), "insteval.json")
}
