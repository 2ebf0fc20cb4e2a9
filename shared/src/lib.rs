//! What every part of Holdfast shares: the domain, the AWS resources, the use cases.
//!
//! It owns the rules (`domain`), the one place where SDK types live (`aws`), and the use cases that functions and the
//! worker call (`service`). It deliberately knows no HTTP surface, no SSH and no process.

pub mod aws;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod guard;
pub mod service;
pub mod telemetry;

pub use error::{Error, ErrorKind, FieldErrors, Result};
