# Makes the data of the article "Methods for MixMod Objects" of the R package GLMMadaptive (seed 1234: 100 persons, 8
# times each) and writes them to glmmadaptive.json with the numbers that the article prints. The package itself is not
# needed: its output is copied from the article as published with version 0.9-7 on 2025-03-04 (11 points, hybrid EM).
# Run: Rscript tests/reference/glmmadaptive.R > tests/reference/glmmadaptive.json
library(jsonlite)

set.seed(1234)
persons <- 100
visits <- 8
later <- replicate(persons, c(0, sort(runif(visits - 1, 0, 15))))  # the first visit is at time 0
time <- as.vector(later)
female <- rep(c(0, 1), each = persons * visits / 2)
id <- rep(seq_len(persons), each = visits)
shift <- rnorm(persons, sd = sqrt(0.48))
slope <- rnorm(persons, sd = sqrt(0.1))
eta <- -2.13 - 0.25 * female + 0.24 * time - 0.05 * female * time + (shift[id] + slope[id] * time)
y <- rbinom(persons * visits, 1, plogis(eta))

cat(toJSON(list(
  source = "GLMMadaptive 0.9-7, article 'Methods for MixMod Objects' (2025-03-04); data: base R, see glmmadaptive.R",
  tolerance = "printed digits; marginal coefficients are of 3,000 Monte Carlo samples",
  data = list(id = id, time = time, female = female, y = y),
  fixef = c(-2.059256329, -1.167646870, 0.261720034, 0.001924039),
  D = list(var_intercept = 0.47137731, cov = 0.11092919, var_time = 0.06332475),
  loglik = -358.8167,
  ranef = list(intercept = c(-0.3764536, 0.6675107, 0.4843611, -0.2083419, 0.2373342, -0.3690096),
               time = c(-0.122065606, 0.289646664, 0.215634477, -0.006681441, 0.162463265, -0.184228112)),
  marginal_coefs = c(-1.6023, -1.0956, 0.1765, 0.0508),
  fitted_mean_subject = c(0.1131204, 0.1169146, 0.1661892, 0.5824003, 0.5947813, 0.5958028),
  fitted_subject_specific = c(0.08048986, 0.08197442, 0.09997322, 0.23877793, 0.24377249, 0.24418982)
), auto_unbox = TRUE, digits = 15))
