from tests.pipelines.cli.conftest import tierlake_here

__all__ = ["tierlake_here"]
