"""Studies: what is asked, the study itself, what it answers, its pictures."""
