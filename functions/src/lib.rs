//! The HTTP surfaces and the functions that serve them.
//!
//! It owns wires: how a request is read, how an answer looks, which status a failure has. Every rule is `shared`'s; a
//! handler reads, calls one use case and prints.

pub mod administration;
pub mod api;
pub mod dialects;
pub mod http;
pub mod maintenance;
pub mod openapi;
pub mod presigner;
