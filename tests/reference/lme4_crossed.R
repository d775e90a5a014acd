# Recorded answers of lme4 (nAGQ = 1) and glmmTMB for crossed random effects. Run from this folder:  Rscript lme4_crossed.R
# Writes lme4_crossed.json and the formula-made data/ratings.csv; reads data/salamander.csv, data/verbagg.csv,
# data/cbpp.csv. The tests read those; they never run R.
#
# lme4's optimiser works without derivatives: it is started three times, each time where it stopped, at tolerances far
# below its defaults. glmmTMB maximises the same Laplace approximation with exact gradients and is the sharper of the
# two ("gradient" is what it left). Its standard errors come from the full Hessian, variances included.
suppressPackageStartupMessages({library(lme4); library(glmmTMB); library(jsonlite)})

tight <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(maxfun = 1e5, rhobeg = 0.02, rhoend = 1e-9),
                      check.conv.grad = "ignore", check.conv.hess = "ignore")
scatter <- function(i) { s <- sin(i * 12.9898) * 43758.5453; s - floor(s) }     # formula-made numbers in (0, 1)

# ---- data ------------------------------------------------------------------------------------------------------
# 60 students in 10 schools, each judged 10 times, by some of 25 raters, on some of 12 tasks
ratings <- expand.grid(k = 0:9, s = 1:60)
ratings <- transform(ratings, school = (s - 1) %/% 6 + 1, r = (s * 7 + k * 3 + (k * k) %/% 2) %% 25 + 1, t = (s * 5 + k * 11) %% 12 + 1)
i <- seq_len(nrow(ratings))
ratings$x <- round(qnorm(scatter(5000 + i)), 3)
ratings$w <- 1 + floor(3 * scatter(7000 + i))
ratings$off <- round(scatter(8000 + i) - 0.5, 3)
ratings$n <- 1 + floor(6 * scatter(6000 + i))
u <- qnorm(scatter(1000 + 1:60)); v <- qnorm(scatter(2000 + 1:60)); a <- qnorm(scatter(3000 + 1:25))
b <- qnorm(scatter(3500 + 1:12)); e <- qnorm(scatter(4000 + 1:10))
eta <- with(ratings, -0.3 + 0.7 * x + 0.9 * u[s] + (0.4 * u + 0.6 * v)[s] * x + 0.8 * a[r] + 0.5 * b[t] + 0.6 * e[school])
ratings$y <- as.integer(scatter(9000 + i) < plogis(eta))
ratings$successes <- qbinom(scatter(9900 + i), ratings$n, plogis(eta))
ratings$k <- NULL
write.csv(ratings, "data/ratings.csv", row.names = FALSE, quote = FALSE)
salamander <- read.csv("data/salamander.csv"); salamander$cross <- paste0(salamander$female_type, salamander$male_type)
tables <- list(ratings = ratings, salamander = salamander, verbagg = read.csv("data/verbagg.csv"), cbpp = read.csv("data/cbpp.csv"))

# ---- records ---------------------------------------------------------------------------------------------------
plain <- function(v) { m <- unclass(v); attributes(m) <- list(dim = dim(m)); m }

lme4_fit <- function(formula, data) {
  begin <- glmer(formula, data, family = binomial, weights = w_)
  for (again in 1:3) {
    begin <- glmer(formula, data, family = binomial, weights = w_, control = tight,
                   start = list(theta = getME(begin, "theta"), fixef = fixef(begin)))
  }
  effects <- ranef(begin, condVar = TRUE)
  # "g" and "g.1" are one factor whose terms were written apart
  list(software = "lme4", loglik = as.numeric(logLik(begin)), fixed = as.list(fixef(begin)),
       covariance = lapply(VarCorr(begin), plain), effects = lapply(VarCorr(begin), function(v) I(rownames(v))),
       modes = lapply(effects, function(b) { m <- as.matrix(b); dimnames(m) <- NULL; m }),
       levels = lapply(effects, function(b) I(rownames(b))), mode_effects = lapply(effects, function(b) I(colnames(b))),
       mode_sd = lapply(effects, function(b) {
         p <- attr(b, "postVar")
         if (is.list(p)) sqrt(do.call(cbind, lapply(p, function(one) one[1, 1, ]))) else t(matrix(sqrt(apply(p, 3, diag)), dim(p)[1]))
       }))
}

tmb_fit <- function(formula, data) {
  # rel.tol below what nlminb can reach makes it work to the last digit and then warn; "gradient" is the proof.
  model <- suppressWarnings(glmmTMB(formula, data, family = binomial, weights = w_, control = glmmTMBControl(
    optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))))
  s <- summary(model$sdr, "fixed"); theta <- s[rownames(s) == "theta", , drop = FALSE]
  list(software = "glmmTMB", loglik = as.numeric(logLik(model)), fixed = as.list(fixef(model)$cond),
       std_err = as.list(sqrt(diag(vcov(model)$cond))), covariance = lapply(VarCorr(model)$cond, plain),
       effects = lapply(VarCorr(model)$cond, function(v) I(rownames(v))), theta = I(unname(theta[, 1])),
       theta_std_err = I(unname(theta[, 2])), gradient = max(abs(model$obj$gr(model$fit$par))))
}

case <- function(file, formula, ours, weights = NULL, options = list(), tmb = formula) {
  data <- tables[[file]]
  data$w_ <- if (is.null(weights)) 1 else data[[weights]]
  cat(ours, "\n")
  list(data = paste0("data/", file, ".csv"), formula = deparse1(formula), melogit = ours, options = options,
       fits = list(lme4_fit(formula, data), tmb_fit(tmb, data)))
}

cases <- list(
  salamander = case("salamander", mated ~ cross + (1 | female) + (1 | male), "mated ~ cross + (1 | female) + (1 | male)"),
  verbagg = case("verbagg", said ~ Anger + Gender + btype + situ + (1 | id) + (1 | item),
                 "said ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)"),
  verbagg_slope = case("verbagg", said ~ Anger + Gender + btype + situ + (situ | id) + (1 | item),
                       "said ~ Anger + Gender + btype + situ + (situ | id) + (1 | item)"),
  slope_unstructured = case("ratings", y ~ x + (x | s) + (1 | r), "y ~ x + (x | s) + (1 | r)"),
  slope_independent = case("ratings", y ~ x + (x || s) + (1 | r), "y ~ x + (x || s) + (1 | r)",
                           tmb = y ~ x + diag(x | s) + (1 | r)),
  nested_pair = case("ratings", y ~ x + (1 | school) + (1 | school:s) + (1 | r), "y ~ x + (1 | school/s) + (1 | r)"),
  three_factors = case("ratings", y ~ x + (1 | s) + (1 | r) + (1 | t), "y ~ x + (1 | s) + (1 | r) + (1 | t)"),
  counts = case("ratings", cbind(successes, n - successes) ~ x + (1 | s) + (1 | r), "cbind(successes, n - successes) ~ x + (1 | s) + (1 | r)"),
  weights_and_offset = case("ratings", y ~ x + offset(off) + (1 | s) + (1 | r), "y ~ x + (1 | s) + (1 | r)", weights = "w",
                            options = list(weights = "w", offset = "off")),
  cbpp = case("cbpp", cbind(incidence, size - incidence) ~ 1 + (1 | herd) + (1 | period),
              "cbind(incidence, size - incidence) ~ 1 + (1 | herd) + (1 | period)"))

about <- paste("Answers of lme4 (nAGQ = 1) and glmmTMB, both Laplace, for crossed effects. Data: salamander (McCullagh & Nelder 1989),",
               "verbagg and cbpp (lme4), ratings (formula-made). Made by lme4_crossed.R. 'modes' and 'mode_sd' are lme4's conditional",
               "modes and standard deviations of the random effects at its estimates.")
record <- list(about = about, R = R.version.string, lme4 = as.character(packageVersion("lme4")),
               glmmTMB = as.character(packageVersion("glmmTMB")),
               tolerance = list(loglik = 1e-4, estimate_in_std_err = 1e-3, std_err_relative = 2e-3), cases = cases)
write(toJSON(record, auto_unbox = TRUE, digits = 10, pretty = FALSE), "lme4_crossed.json")
for (n in names(cases)) cat(n, sapply(cases[[n]]$fits, function(f) f$loglik), "gradient", cases[[n]]$fits[[2]]$gradient, "\n")
