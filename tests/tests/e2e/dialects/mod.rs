//! The dialects: what is printed, what is generated from their operations, and a module for each with what only it has.

mod cronly;
mod generated;
mod printed;
mod zomro;
