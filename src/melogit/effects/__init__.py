"""A fit and rows -> predictions, margins, residuals, posteriors of new groups. Arrays only."""
