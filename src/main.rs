//! The `vitcod` command line.
fn main() {}
