"""What is in a bucket that nobody described: datasets, sizes, ages, waste, and what which policy would save.

from tierlake.pipelines.survey import survey

print(survey("s3://warehouse"))
"""

from tierlake.pipelines.survey.page import Survey
from tierlake.pipelines.survey.run import survey

__all__ = ["Survey", "survey"]
