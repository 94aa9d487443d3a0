"""What `config.py` needs to judge a stack file: scalar values, SSH keys, checksum files, mistakes."""
