"""What a dead process left: secured, repaired, closed, its losses declared."""
