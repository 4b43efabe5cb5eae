"""What happens to chrominance between network and picture; each step a pure function."""
