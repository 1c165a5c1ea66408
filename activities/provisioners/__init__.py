"""Provisioners: who makes the place that a workspace is. One file each; `provisioner.py` says what they promise."""
