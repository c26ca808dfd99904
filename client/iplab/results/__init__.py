"""What a service answers: experiments, runs, metrics and reports as objects, frames and summaries."""
