//! Tests of the compiler's public interface, in one binary. `tests/hostile` is another one: it
//! measures the memory of its process.

mod accuracy_table;
mod class_tokens;
mod docs;
mod equalise;
mod models;
