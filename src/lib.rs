//! gangplank: docker0 for a user without root.

