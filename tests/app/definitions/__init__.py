"""Tests of the definitions log."""
