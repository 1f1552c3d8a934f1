"""Pretrain on volumes without labels."""
