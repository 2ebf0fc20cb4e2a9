//! The document as a page to read. It loads nothing, from here or elsewhere.

use std::fmt::Write;

use super::{Surface, failures, path_parameters, tag};
use crate::http::operation::{Access, Call, Content};
use crate::http::schema::Member;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    code,pre{font:14px/1.4 ui-monospace,monospace}h2{margin-top:3rem;border-bottom:1px solid #ccc}\
    details{margin:.4rem 0;padding:.4rem .8rem;border:1px solid #ddd;border-radius:6px}summary{cursor:pointer}\
    table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}\
    .m{display:inline-block;width:4.5rem;font-weight:600}nav a{margin-right:.8rem}\
    @media(prefers-color-scheme:dark){body{background:#111;color:#ddd}details{border-color:#444}a{color:#8bf}}";

/// The page.
pub fn page(surface: &Surface<'_>) -> String {
    let mut tags: Vec<&str> = surface.calls.iter().map(tag).collect();
    tags.dedup();
    let links: String = tags.iter().map(|tag| format!("<a href=\"#{tag}\">{tag}</a> ")).collect();
    let parts: String = tags.iter().map(|name| part(name, surface)).collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><h1>{title}</h1>\
         <p>Send <code>Authorization: Bearer TOKEN</code>. Bodies are JSON or forms; every fault of a request is told at \
         once. The same as <a href=\"v1/openapi.json\">OpenAPI 3.1</a>.</p><nav>{links}</nav>{parts}</body></html>\n",
        title = escaped(surface.title),
    )
}

fn part(name: &str, surface: &Surface<'_>) -> String {
    let calls = surface.calls.iter().filter(|call| tag(call) == name);
    let calls: String = calls.map(|each| call(each, surface.url)).collect();
    format!("<h2 id=\"{name}\">{name}</h2>{calls}")
}

fn call(call: &Call, url: &str) -> String {
    let mut text = format!(
        "<details><summary><span class=\"m\">{}</span><code>{}</code> {}</summary>",
        call.method,
        escaped(call.path),
        escaped(call.summary)
    );
    let access = match call.access {
        Access::Open => "Needs no token.".to_owned(),
        Access::AnyToken => "Any token.".to_owned(),
        Access::Needs(ability) => format!("Ability <code>{ability}</code>."),
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "<p>{access}</p><pre>{}</pre>", escaped(&curl(call, url)));
    let in_path: Vec<_> =
        path_parameters(call.path).map(|(name, schema)| Member { name, schema, required: true }).collect();
    text.push_str(&table("Path", &in_path));
    text.push_str(&table("Query", &call.query));
    text.push_str(&table("Body", call.body.as_deref().unwrap_or_default()));
    let answers = call.answers.iter().map(|(status, content)| match content {
        Content::Empty => format!("{} with nothing", status.as_u16()),
        Content::Json(_) => format!("{} with JSON", status.as_u16()),
        Content::Text(kind) => format!("{} with {kind}", status.as_u16()),
    });
    let answers: Vec<_> = answers.collect();
    let refusals: Vec<_> = failures(call).iter().map(|status| status.as_u16().to_string()).collect();
    let _ = write!(text, "<p>Answers {}; refuses with {}.</p></details>", answers.join(" or "), refusals.join(", "));
    text
}

fn table(title: &str, members: &[Member]) -> String {
    if members.is_empty() {
        return String::new();
    }
    let rows: String = members
        .iter()
        .map(|Member { name, schema, required }| {
            let described = schema.0["description"].as_str().unwrap_or_default();
            let required = if *required { "required" } else { "" };
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{required}</td><td>{}</td></tr>",
                escaped(name),
                escaped(&form(&schema.0)),
                escaped(described)
            )
        })
        .collect();
    format!("<table><tr><th colspan=\"4\">{title}</th></tr>{rows}</table>")
}

/// A schema in a few words.
fn form(schema: &serde_json::Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(|word| word.as_str()).collect();
        return words.join(", ");
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    let (low, high) = (&schema["minimum"], &schema["maximum"]);
    match (kind, schema["format"].as_str(), high.is_null()) {
        (_, Some(format), _) => format.to_owned(),
        ("integer", None, false) => format!("{low} to {high}"),
        ("array", None, _) => format!("list of {}", form(&schema["items"])),
        _ => kind.to_owned(),
    }
}

fn curl(call: &Call, url: &str) -> String {
    let method = if call.method == http::Method::GET { String::new() } else { format!(" -X {}", call.method) };
    let token = if call.access == Access::Open { "" } else { " -H \"Authorization: Bearer $TOKEN\"" };
    format!("curl{method}{token} {url}{}", call.path)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn shows_every_call_and_loads_nothing() {
        let calls: Vec<_> = api::operations().into_iter().map(|operation| operation.call).collect();
        let count = calls.len();
        let page = page(&Surface {
            title: "Holdfast <API>",
            about: "All",
            url: "https://h.example",
            calls,
            schemas: api::schemas(),
        });
        assert_eq!(page.matches("<details>").count(), count);
        for word in ["src=", "@import", "url(", "<link", "<script", "<API>"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
