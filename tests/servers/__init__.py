"""Rigs: real servers for the tests, one a file, and a way to set up and look at them that goes around our own code."""

from tests.servers.minio import MinioPair, minio_pair, minio_rig, minio_tls_rig
from tests.servers.moto import moto_rig
from tests.servers.rig import Rig
from tests.servers.seaweedfs import seaweedfs_rig

__all__ = ["MinioPair", "Rig", "minio_pair", "minio_rig", "minio_tls_rig", "moto_rig", "seaweedfs_rig"]
