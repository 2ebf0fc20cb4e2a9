//! The worker, built beside the tests so that they can start it and kill it.

fn main() {}
