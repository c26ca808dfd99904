"""What a network is: its tensors, their scales in the width, its activations, its weight file."""
