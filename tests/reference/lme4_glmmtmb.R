# Recorded answers of lme4 and glmmTMB. Run from this folder:  Rscript lme4_glmmtmb.R
# Writes lme4_glmmtmb.json and the data it used, data/*.csv. The tests read those; they never run R.
#
# Two kinds of record per case:
#   fits   what the package reports at its own optimum (stops at an optimiser tolerance: compare to about 1e-4)
#   fixed  the log-likelihood approximation at rounded, given parameters (no optimiser: compare to 1e-8)
#
# lme4 works with deviance residuals when nAGQ > 1 and so drops the log-likelihood of the saturated model, which is
# not 0 for grouped counts. Records hold lme4's own number ("as_reported") and the number with everything in it
# ("loglik" = as_reported + saturated for nAGQ > 1). For 0/1 data the two are equal.
suppressPackageStartupMessages({library(lme4); library(glmmTMB); library(jsonlite)})

dir.create("data", showWarnings = FALSE)
tight <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(maxfun = 1e5, rhoend = 1e-9),
                      check.conv.grad = "ignore", check.conv.hess = "ignore")
alphabetical <- function(d) { for (n in names(d)) if (is.factor(d[[n]])) d[[n]] <- factor(as.character(d[[n]])); d }
scatter <- function(i) { s <- sin(i * 12.9898) * 43758.5453; s - floor(s) }     # formula-made numbers in (0, 1)

# ---- data ------------------------------------------------------------------------------------------------------
herds <- alphabetical(lme4::cbpp)
aggression <- alphabetical(lme4::VerbAgg[, c("id", "item", "Anger", "Gender", "btype", "situ", "r2")])
aggression$said <- as.integer(aggression$r2 == "Y"); aggression$r2 <- NULL
bacteria <- alphabetical(MASS::bacteria[, c("ID", "trt", "week", "y")])
bacteria$present <- as.integer(bacteria$y == "y"); bacteria$y <- NULL
ticks <- alphabetical(lme4::grouseticks[, c("BROOD", "LOCATION", "YEAR", "HEIGHT", "TICKS")])
ticks$height <- (ticks$HEIGHT - 460) / 50
ticks$any <- as.integer(ticks$TICKS > 0); ticks$TICKS <- NULL; ticks$HEIGHT <- NULL
ticks$YEAR <- paste0("y", ticks$YEAR)
slopes <- data.frame(g = rep(1:80, each = 12), t = rep(0:11, 80) / 4 - 1)       # formula-made: 80 groups, 12 times
i <- seq_len(nrow(slopes))
u0 <- qnorm(scatter(1000 + 1:80)); u1 <- qnorm(scatter(2000 + 1:80))
slopes$x <- round(qnorm(scatter(5000 + i)), 3)
eta <- -0.4 + 0.6 * slopes$t - 0.5 * slopes$x + 1.1 * u0[slopes$g] + (0.5 * u0 + 0.9 * u1)[slopes$g] * slopes$t
slopes$y <- as.integer(scatter(9000 + i) < plogis(eta))
tables <- list(cbpp = herds, verbagg = aggression, bacteria = bacteria, grouseticks = ticks, slopes = slopes)
for (n in names(tables)) write.csv(tables[[n]], file.path("data", paste0(n, ".csv")), row.names = FALSE, quote = FALSE)

# ---- records ---------------------------------------------------------------------------------------------------
saturated <- function(y, n) sum(lchoose(n, y) + ifelse(y > 0, y * log(y / n), 0) + ifelse(y < n, (n - y) * log1p(-y / n), 0))
counts <- function(model) { r <- model.response(model.frame(model)); if (is.matrix(r)) list(r[, 1], rowSums(r)) else list(r, rep(1, length(r))) }

lme4_fit <- function(formula, data, nAGQ) {
  model <- glmer(formula, data, family = binomial, nAGQ = nAGQ, control = tight)
  yn <- counts(model)
  reported <- as.numeric(logLik(model)); sat <- if (nAGQ > 1) saturated(yn[[1]], yn[[2]]) else 0
  list(software = "lme4", nAGQ = nAGQ, as_reported = reported, loglik = reported + sat, fixed = as.list(fixef(model)),
       covariance = lapply(VarCorr(model), function(v) { m <- unclass(v); attributes(m) <- list(dim = dim(m)); m }),
       effects = lapply(VarCorr(model), function(v) I(rownames(v))))
}

# The approximated log-likelihood at given parameters: theta (relative Cholesky entries, lme4's order) and beta.
lme4_fixed <- function(formula, data, nAGQ, theta, beta) {
  deviance_at <- suppressWarnings(glmer(formula, data, family = binomial, nAGQ = nAGQ, control = tight, devFunOnly = TRUE))
  for (again in 1:3) value <- deviance_at(c(theta, beta))      # the mode is warm-started: repeated until it settles
  model <- glmer(formula, data, family = binomial, nAGQ = 0)
  yn <- counts(model)
  sat <- if (nAGQ > 1) saturated(yn[[1]], yn[[2]]) else 0
  list(nAGQ = nAGQ, theta = I(theta), beta = I(beta), as_reported = -value / 2, loglik = -value / 2 + sat)
}

# glmmTMB's Laplace approximation at the same parameters. lme4's last weights belong to the step before its mode, which
# leaves an error of up to 1.4e-6 (verbagg, 316 groups) in its one-point value whatever tolPwrss is; glmmTMB's is exact to rounding.
tmb_fixed <- function(formula, data, theta, beta) {
  model <- suppressWarnings(glmmTMB(formula, data, family = binomial))
  model$obj$env$inner.control$tol <- 1e-14
  as.numeric(-model$obj$fn(c(beta, theta)))
}

tmb_fit <- function(formula, data) {
  # rel.tol below what nlminb can reach makes it work to the last digit and then warn; "gradient" is the proof.
  model <- suppressWarnings(glmmTMB(formula, data, family = binomial, control = glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))))
  s <- summary(model$sdr, "fixed"); log_sd <- s[rownames(s) == "theta", , drop = FALSE]
  list(software = "glmmTMB", loglik = as.numeric(logLik(model)), fixed = as.list(fixef(model)$cond),
       std_err = as.list(sqrt(diag(vcov(model)$cond))),
       covariance = lapply(VarCorr(model)$cond, function(v) { m <- unclass(v); attributes(m) <- list(dim = dim(m)); m }),
       effects = lapply(VarCorr(model)$cond, function(v) I(rownames(v))),
       theta = I(unname(log_sd[, 1])), theta_std_err = I(unname(log_sd[, 2])),
       gradient = max(abs(model$obj$gr(model$fit$par))))
}

scalar <- function(formula, ours, file, theta, beta) {
  data <- tables[[file]]
  list(formula = deparse1(formula), melogit = ours, data = paste0("data/", file, ".csv"),
       fits = c(lapply(c(1, 7, 15, 25), function(k) lme4_fit(formula, data, k)), list(tmb_fit(formula, data))),
       fixed = lapply(c(1, 7, 15, 25), function(k) c(lme4_fixed(formula, data, k, theta, beta),
         if (k == 1) list(loglik_glmmTMB = tmb_fixed(formula, data, log(theta), beta)))))
}
laplace <- function(formula, ours, file, theta, beta, tmb_theta) {
  data <- tables[[file]]
  list(formula = deparse1(formula), melogit = ours, data = paste0("data/", file, ".csv"),
       fits = list(lme4_fit(formula, data, 1), tmb_fit(formula, data)),
       fixed = list(c(lme4_fixed(formula, data, 1, theta, beta), list(loglik_glmmTMB = tmb_fixed(formula, data, tmb_theta, beta)))))
}

cases <- list(
  cbpp = scalar(cbind(incidence, size - incidence) ~ period + (1 | herd),
                "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", "cbpp", 0.6, c(-1.4, -1, -1.1, -1.6)),
  verbagg = scalar(said ~ Anger + Gender + btype + situ + (1 | id), "said ~ Anger + Gender + btype + situ + (1 | id)",
                   "verbagg", 1.3, c(0.2, 0.05, 0.3, -1, -2, -1)),
  bacteria = scalar(present ~ trt + week + (1 | ID), "present ~ trt + week + (1 | ID)", "bacteria", 1.2, c(2, 0.5, 1.1, -0.15)),
  ticks_nested = laplace(any ~ YEAR + height + (1 | LOCATION) + (1 | LOCATION:BROOD), "any ~ YEAR + height + (1 | LOCATION / BROOD)",
                         "grouseticks", c(1.1, 0.9), c(0.4, 1.5, -1, -1.2), log(c(0.9, 1.1))),
  slopes_correlated = laplace(y ~ t + x + (t | g), "y ~ t + x + (t | g)", "slopes", c(1.1, 0.5, 0.8), c(-0.4, 0.6, -0.5),
                              c(log(1.1), log(sqrt(0.5^2 + 0.8^2)), 0.5 / 0.8)),
  slopes_independent = laplace(y ~ t + x + (t || g), "y ~ t + x + (t || g)", "slopes", c(1.1, 0.8), c(-0.4, 0.6, -0.5), log(c(1.1, 0.8))))

about <- paste("Answers of lme4 and glmmTMB on data that R packages ship (cbpp, VerbAgg, grouseticks of lme4; bacteria of MASS)",
               "and on formula-made data (slopes). Made by lme4_glmmtmb.R. In 'fixed', theta is lme4's order: terms with",
               "more groups first, lower triangle of Lambda by columns.")
record <- list(about = about, R = R.version.string, lme4 = as.character(packageVersion("lme4")),
               glmmTMB = as.character(packageVersion("glmmTMB")), MASS = as.character(packageVersion("MASS")),
               tolerance = list(loglik_at_optimum = 1e-4, estimate_in_std_err = 2e-3, std_err_relative = 2e-3, loglik_at_fixed_parameters = 1e-8,
                                loglik_at_fixed_parameters_one_point_lme4 = 2e-6),
               cases = cases)
write(toJSON(record, auto_unbox = TRUE, digits = NA, pretty = TRUE), "lme4_glmmtmb.json")
