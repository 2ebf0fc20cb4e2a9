//! What every HTTP surface shares: bodies, callers, request ids, errors, limits, pages. It knows no vendor and no route.

mod accept;
pub mod address;
pub mod audit;
pub mod authentication;
pub mod body;
pub mod browsers;
pub mod error;
pub mod fields;
pub mod idempotency;
pub mod if_match;
mod known_tokens;
pub mod limits;
pub mod operation;
pub mod paging;
pub mod path;
pub mod query;
pub mod rate_limit;
pub mod request_id;
pub mod schema;
pub mod strangers;
pub mod surface;
pub mod timestamp;
pub mod tree;

pub use authentication::Caller;
pub use body::{Body, TextBody};
pub use browsers::safe_for_browsers;
pub use error::{Answer, HttpError};
pub use fields::Fields;
pub use if_match::{IfMatch, etag};
pub use operation::Operation;
pub use path::Params;
pub use query::Query;
pub use surface::{App, surface};
pub use timestamp::rfc3339;
pub use tree::Tree;
