"""From accepted experiments to trained packs: planning, placing, committing."""
