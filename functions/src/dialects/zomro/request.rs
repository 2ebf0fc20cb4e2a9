//! What is asked: every parameter may stand in the query or in the body, and in quotes, as the vendor's examples have them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use holdfast_shared::domain::token::TokenText;
use holdfast_shared::{Error, ErrorKind};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use serde_json::{Map, Value};

use super::document::Out;
use super::{functions, name};
use crate::http::body::{collect, read};
use crate::http::tree::urlencoded_pairs;
use crate::http::{HttpError, Tree};

/// Parameters that the vendor's own pages send along and that say nothing here.
const PASSED_OVER: [&str; 4] = ["lang", "clicked_button", "progressid", "sfrom"];

/// A call, read as far as it can be without knowing the function.
pub(super) struct Call {
    /// How to answer.
    pub out: Out,
    parameters: Map<String, Value>,
    parts: Parts,
}

impl Call {
    pub(super) async fn read(request: Request) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        let query = Tree::from_pairs(urlencoded_pairs(parts.uri.query().unwrap_or_default().as_bytes())?)?;
        let bytes = collect(&parts.headers, body).await?;
        let body = read(&parts.headers, bytes).await?;
        let mut parameters: Map<_, _> = query.0.into_iter().chain(body.0).collect();
        parameters.values_mut().for_each(unquote);
        PASSED_OVER.iter().for_each(|name| drop(parameters.remove(*name)));
        let out = match parameters.remove("out").as_ref().map(|out| out.as_str().unwrap_or("?")) {
            None | Some("" | "json" | "bjson" | "sjson") => Out::Json,
            Some("xml" | "devel") => Out::Xml,
            Some(_) => return Err(Error::invalid("out", "must be json or xml").into()),
        };
        Ok(Self { out, parameters, parts })
    }

    /// The request to the function's own path, with who asks in its header.
    pub(super) fn into_request(mut self) -> Result<Request, Arc<HttpError>> {
        let failed = |error: Error| Arc::new(HttpError::from(error));
        let func = self.take("func").ok_or_else(|| failed(Error::invalid("func", "is required")))?;
        let functions = functions();
        let function = functions.iter().find(|function| name(function.call.path) == func);
        let function = function.ok_or_else(|| failed(Error::invalid("func", "is no function that is known here")))?;
        if let Some(token) = self.token(&func).map_err(failed)? {
            let header = HeaderValue::from_str(&format!("Bearer {token}"));
            self.parts.headers.insert(AUTHORIZATION, header.map_err(|_| failed(refused()))?);
        }
        let mut parts = self.parts;
        parts.method = function.call.method.clone();
        parts.uri = Uri::from(PathAndQuery::from_static(function.call.path));
        parts.extensions.remove::<MatchedPath>();
        parts.headers.remove(ACCEPT);
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Request::from_parts(parts, Body::from(Value::Object(self.parameters).to_string())))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.parameters.remove(name).and_then(|value| value.as_str().map(str::to_owned))
    }

    /// The token or session that is sent, if not in the header.
    fn token(&mut self, func: &str) -> Result<Option<String>, Error> {
        let (auth, authinfo) = (self.take("auth"), self.take("authinfo"));
        if func == "auth" {
            let (username, password) = (self.take("username"), self.take("password"));
            return match (username, password) {
                (Some(username), Some(password)) => owned(&username, password).map(Some),
                _ => Err(refused()),
            };
        }
        match authinfo {
            Some(both) => {
                let (username, password) = both.split_once(':').ok_or_else(refused)?;
                owned(username, password.to_owned()).map(Some)
            }
            None => Ok(auth),
        }
    }
}

/// The token, if its text says that it is of the account.
fn owned(account: &str, token: String) -> Result<String, Error> {
    let own = TokenText::parse(&token).and_then(|text| text.account());
    own.filter(|own| own.as_str() == account).map(|_| token).ok_or_else(refused)
}

fn refused() -> Error {
    Error::new(ErrorKind::Unauthenticated, "invalid username or password: send the account's id and one of its tokens")
}

/// `"text"` is text: some examples quote values within a form.
fn unquote(value: &mut Value) {
    let inner = value.as_str().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    if let Some(inner) = inner {
        *value = Value::String(inner.to_owned());
    }
}
