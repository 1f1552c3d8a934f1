"""Fine-tune on labelled cases, and what every training run shares."""
