"""Amazon S3, by its documentation."""

from tierlake.connector.profiles.profile import Profile

PROFILE = Profile(
    name="aws",
    server_headers=("AmazonS3",),
    # A self-copy with COPY keeps metadata and content type:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html, x-amz-metadata-directive
    self_copy_directive="COPY",
)
