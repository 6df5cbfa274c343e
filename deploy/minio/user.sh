#!/bin/sh
# Makes the user LAKE_ACCESS_KEY of the MinIO at MINIO_URL, with the rights that the file POLICY lists and no others.
# Run again it changes the secret and the rights to what they are now.
set -eu
mc --quiet alias set lake "$MINIO_URL" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"
mc --quiet admin user add lake "$LAKE_ACCESS_KEY" "$LAKE_SECRET_KEY"
mc --quiet admin policy create lake tierlake-operator "$POLICY"
mc --quiet admin policy attach lake tierlake-operator --user "$LAKE_ACCESS_KEY" ||
    mc admin user info --json lake "$LAKE_ACCESS_KEY" | grep -q tierlake-operator # it has them already
