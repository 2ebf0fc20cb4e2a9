//! Reading a query string, with the same rules as a form body.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::error::{Answer, HttpError};
use super::fields::Fields;
use super::tree::{Tree, urlencoded_pairs};

/// What the query says, and what links to other pages of the same list need.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The parameters, nested by their brackets.
    pub tree: Tree,
    /// The path that was asked, after it was put in order.
    pub path: String,
    /// The parameters as they came.
    pub pairs: Vec<(String, String)>,
}

impl Query {
    /// Starts reading the parameters.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.tree)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let pairs = urlencoded_pairs(parts.uri.query().unwrap_or_default().as_bytes())?;
        Ok(Self { tree: Tree::from_pairs(pairs.clone())?, path: parts.uri.path().to_owned(), pairs })
    }
}
