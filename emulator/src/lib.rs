//! Executes ViTCoD programs.
