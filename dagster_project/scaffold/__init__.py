"""What `dg scaffold defs tierlake.LakeDataset NAME` writes into anybody's project."""
