"""Recovery of the streams of dead processes: syncs, repairs and closes them, and declares what was lost."""
