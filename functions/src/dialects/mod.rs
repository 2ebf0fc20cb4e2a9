//! The dialects: other vendors' wires over the same use cases, one folder each.
//!
//! A dialect parses, calls the service and prints; no rule lives here, and no vendor is named anywhere else. A new one is
//! a folder, a bin and a line in [`ALL`], from which the local listener, the documentation and the tests take it.

pub mod cronly;
pub mod zomro;

use axum::Router;
use holdfast_shared::service::Service;

use crate::http::Operation;
use crate::http::schema::Schema;
use crate::openapi::Surface;

const ABOUT: &str = "The same account, seen as another product's users know it. Bodies can be JSON, \
    `application/x-www-form-urlencoded` or `multipart/form-data`.";

/// What others need to know of a dialect.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// The name of its folder, its function and its OpenAPI document.
    pub name: &'static str,
    /// What it is called in its documentation.
    pub title: &'static str,
    /// Where its OpenAPI document is.
    pub document: &'static str,
    /// Its paths: each of these and, but for `/`, all below. No other surface has them.
    pub paths: &'static [&'static str],
    /// Every call.
    pub operations: fn() -> Vec<Operation>,
    /// The forms that they name, `Failure` among them.
    pub schemas: fn() -> Vec<(&'static str, Schema)>,
    /// The surface.
    pub router: fn(Service) -> Router,
}

/// All of them.
pub const ALL: [Dialect; 2] = [cronly::DIALECT, zomro::DIALECT];

impl Dialect {
    /// What there is to document.
    pub fn surface(self, url: &str) -> Surface<'_> {
        let calls = (self.operations)().into_iter().map(|operation| operation.call).collect();
        Surface { title: self.title, about: ABOUT, url, calls, schemas: (self.schemas)() }
    }

    /// The dialect that a path belongs to; the path must be in order.
    pub fn of(path: &str) -> Option<&'static Self> {
        ALL.iter().find(|dialect| dialect.paths.iter().any(|one| is_at_or_below(path, one)))
    }
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || (top != "/" && rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_one_dialect_at_most() {
        for (at, dialect) in ALL.iter().enumerate() {
            for path in dialect.paths {
                for other in &ALL[at + 1..] {
                    let overlaps = |one: &&str| is_at_or_below(path, one) || is_at_or_below(one, path);
                    assert!(!other.paths.iter().any(overlaps), "{path}: {} {}", dialect.name, other.name);
                }
            }
            for operation in (dialect.operations)() {
                let path = operation.call.path;
                assert_eq!(Dialect::of(path).map(|one| one.name), Some(dialect.name), "{path}");
            }
        }
        for path in ["/v1/jobs", "/api/backupsy", "/healthz"] {
            assert!(Dialect::of(path).is_none(), "{path}");
        }
    }
}
