"""What is done with finished runs: ask more of them, fine-tune, export, merge and distil."""
