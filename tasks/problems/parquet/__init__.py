"""Parquet as problem sets need it: rows in bounded memory, and what a file would come to, told beforehand."""
