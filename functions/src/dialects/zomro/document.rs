//! `{"doc": …}` as JSON, or the same tree as XML: `$` is an element's text, `$name` an attribute, a list is its elements
//! one after another.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde_json::Value;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    Json,
    Xml,
}

/// The answer that holds the document. Every one has status 200, a failure too.
pub(super) fn answer(document: &Value, out: Out) -> Response {
    match out {
        Out::Json => Json(document).into_response(),
        Out::Xml => ([(CONTENT_TYPE, "text/xml; charset=utf-8")], xml(document)).into_response(),
    }
}

fn xml(document: &Value) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    for (name, value) in document.as_object().into_iter().flatten() {
        write(&mut writer, name, value);
    }
    writer.into_inner()
}

fn write(writer: &mut Writer<Vec<u8>>, name: &str, value: &Value) {
    if let Value::Array(elements) = value {
        return elements.iter().for_each(|element| write(writer, name, element));
    }
    let members = || value.as_object().into_iter().flatten();
    let attribute = |(name, value): (&String, &Value)| Some((name.strip_prefix('$')?.to_owned(), text(value)));
    let attributes: Vec<_> = members().filter_map(attribute).filter(|(name, _)| !name.is_empty()).collect();
    let start =
        BytesStart::new(name).with_attributes(attributes.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let _ = writer.write_event(Event::Start(start));
    let own = if value.is_object() { value.get("$").map(text) } else { Some(text(value)) };
    if let Some(own) = own {
        let _ = writer.write_event(Event::Text(BytesText::new(&own)));
    }
    members().filter(|(name, _)| !name.starts_with('$')).for_each(|(name, value)| write(writer, name, value));
    let _ = writer.write_event(Event::End(BytesEnd::new(name)));
}

/// A value as text; what no XML can hold (<https://www.w3.org/TR/xml/#charsets>) becomes U+FFFD.
fn text(value: &Value) -> String {
    let text =
        value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
    let held =
        |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    text.chars().map(|c| if held(c) { c } else { '\u{FFFD}' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_tree_is_xml() {
        let document = json!({"doc": {
            "$id": "a\"b", "elem": [{"name": {"$": "<a & b>\u{0}"}}, {"name": {"$": ""}}], "p_num": {"$": "1"},
        }});
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><doc id=\"a&quot;b\">\
            <elem><name>&lt;a &amp; b&gt;\u{FFFD}</name></elem><elem><name></name></elem><p_num>1</p_num></doc>";
        assert_eq!(String::from_utf8(xml(&document)).unwrap(), expected);
    }
}
