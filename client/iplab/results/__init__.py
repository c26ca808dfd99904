"""Results of a service: experiments, runs, metrics and reports as objects, frames and summaries."""
