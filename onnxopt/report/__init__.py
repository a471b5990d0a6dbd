"""What a run tells: tables for people, JSON for programs."""
