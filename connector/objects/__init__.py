"""Operations on objects, one verb a file."""
