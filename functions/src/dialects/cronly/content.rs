//! How a crontab arrives. The vendor's client sends `curl -d "file_content=$text"`: a form whose last field is not encoded.

use axum::extract::{FromRequest, Request};
use serde_json::Value;

use crate::http::body::{collect, essence, read};
use crate::http::{Answer, Fields, HttpError, Tree};

const FIELD: &str = "file_content";

/// A body that may hold a crontab in `file_content`. A form in which that is visibly not encoded is taken as it is from
/// `file_content=` on: its `&`, `+` and `%` are the crontab's. Everything else is read as any body is.
#[derive(Debug)]
pub(super) struct Sent(Tree);

impl Sent {
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.0)
    }
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let bytes = collect(&parts.headers, body).await?;
        if essence(&parts.headers) != "application/x-www-form-urlencoded" {
            return Ok(Self(read(&parts.headers, bytes).await?));
        }
        let Some((before, text)) = verbatim(&bytes) else { return Ok(Self(read(&parts.headers, bytes).await?)) };
        let mut tree = Tree::from_urlencoded(before)?;
        tree.0.insert(FIELD.to_owned(), Value::String(text.to_owned()));
        Ok(Self(tree))
    }
}

/// What stands before the field, and the field as it came, where it was not encoded.
fn verbatim(form: &[u8]) -> Option<(&[u8], &str)> {
    let name = format!("{FIELD}=");
    let starts = |at: &usize| (*at == 0 || form[at - 1] == b'&') && form[*at..].starts_with(name.as_bytes());
    let at = (0..form.len()).find(starts)?;
    let text = &form[at + name.len()..];
    let text = std::str::from_utf8(text).ok().filter(|_| !is_encoded(text))?;
    Some((&form[..at], text))
}

/// Whether an encoder could have written it: no encoder leaves a space, a control, any of `"#<>\^`{|}` or a byte beyond
/// ASCII as it is, nor a `%` that is not followed by two hexadecimal digits
/// (<https://url.spec.whatwg.org/#concept-urlencoded-serializer>, RFC 3986 section 2).
fn is_encoded(text: &[u8]) -> bool {
    let is_hex = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    text.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => is_hex(at + 1) && is_hex(at + 2),
        b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
        byte => byte.is_ascii_graphic(),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;

    async fn sent(form: impl Into<Body>) -> Value {
        let request = Request::post("/").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let sent = Sent::from_request(request.body(form.into()).unwrap(), &()).await;
        Value::Object(sent.unwrap().0.0)
    }

    #[tokio::test]
    async fn a_text_that_is_not_encoded_is_taken_as_it_is() {
        let texts = [
            "* * * * * a && b > /dev/null 2>&1\n",
            "# 100%\n5 0 * * * date +%F%20%41 &file_content=x",
            "@daily é",
            "\t",
            "#",
        ];
        for text in texts {
            let expected = json!({"username": "a b", "file_content": text});
            assert_eq!(sent(format!("username=a+b&file_content={text}")).await, expected);
            assert_eq!(sent(format!("file_content={text}")).await, json!({"file_content": text}));
        }
    }

    #[tokio::test]
    async fn a_text_that_is_encoded_is_decoded() {
        let cases = [
            ("file_content=%2A+a%20%26%26+b%0A&username=x", "* a && b\n"),
            ("username=x&file_content=", ""),
            ("file_content=a+b&username=x", "a b"),
        ];
        for (form, text) in cases {
            assert_eq!(sent(form).await, json!({"username": "x", "file_content": text}), "{form}");
        }
        assert_eq!(sent("my_file_content=a b").await, json!({"my_file_content": "a b"}));
    }

    #[tokio::test]
    async fn what_is_no_text_is_refused() {
        let request = Request::post("/").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from(b"file_content=a \xff".to_vec())).unwrap();
        assert_eq!(Sent::from_request(request, &()).await.unwrap_err().status, 400);
    }
}
