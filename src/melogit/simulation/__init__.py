"""New responses from a fitted model, and planned studies tried out: power by simulation. Arrays only."""
