//! Pages of a list: what a client asks for, and the `links` and `meta` of the answer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_shared::Result;
use holdfast_shared::aws::table::{Cursor, Order, SortBy, Window};
use holdfast_shared::service::Listing;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::fields::Fields;
use super::query::Query;

/// How many records a page holds unless the client says otherwise, and the fewest it may ask for.
pub const MIN_PAGE_SIZE: i64 = 15;
/// The most it may ask for.
pub const MAX_PAGE_SIZE: i64 = 100;
/// The last page that can be asked for by its number: to get there, the rows of those before it are read.
pub const MAX_PAGE: i64 = 1000;

/// The sort keys of one list: the word on the wire, and what it walks.
pub type SortKeys = &'static [(&'static str, SortBy)];

/// Which page of a list, and in what order.
#[derive(Debug, Clone)]
pub struct Paging {
    /// Records a page.
    pub size: i32,
    /// The page's number, from 1.
    pub page: i64,
    /// The order of the whole list.
    pub order: Order,
    /// Where the page begins, as the link to it said; without it, the pages before it are walked.
    pub cursor: Option<Cursor>,
}

impl Paging {
    /// Reads `page_size`, `page`, `cursor` and `sort`; the latter is one of `sort_keys`, with `-` for descending.
    pub fn read(fields: &mut Fields<'_>, sort_keys: SortKeys, default_order: Order) -> Self {
        let size = fields.optional_integer("page_size", MIN_PAGE_SIZE..=MAX_PAGE_SIZE).unwrap_or(MIN_PAGE_SIZE);
        Self {
            size: i32::try_from(size).unwrap_or(i32::MAX),
            page: fields.optional_integer("page", 1..=MAX_PAGE).unwrap_or(1),
            order: fields.optional("sort", |text| order(text, sort_keys)).unwrap_or(default_order),
            cursor: fields.optional("cursor", |text| decode(text).ok_or("is not a cursor of this list")),
        }
    }

    /// Fetches the page: `fetch` answers at most so many records from a cursor on.
    ///
    /// With a cursor, as in every `next` link, that is one read. A page that is named by its number alone costs the
    /// pages before it.
    pub async fn fetch<T, F>(&self, fetch: impl Fn(i32, Option<Cursor>) -> F) -> Result<Listing<T>>
    where
        F: Future<Output = Result<Listing<T>>>,
    {
        let mut cursor = self.cursor.clone();
        let skipped = if cursor.is_some() { 0 } else { self.page - 1 };
        for _ in 0..skipped {
            let passed = fetch(self.size, cursor).await?;
            match passed.next {
                Some(next) => cursor = Some(next),
                None => return Ok(Listing { records: Vec::new(), next: None, total: passed.total }),
            }
        }
        fetch(self.size, cursor).await
    }

    /// Which part of the list that is, for lists that pass over pages by themselves.
    ///
    /// With a cursor, as in every `next` link, nothing is passed over. A page that is named by its number alone costs the
    /// narrow rows of the pages before it, not their records.
    pub fn window(&self) -> Window {
        let skip = if self.cursor.is_some() { 0 } else { u32::try_from(self.page - 1).unwrap_or(u32::MAX) };
        Window { size: self.size, skip, after: self.cursor.clone() }
    }

    /// The whole answer of a list: `data`, `links` and `meta`. Links start with `public_url`, never with what the client
    /// sent as `Host`.
    pub fn answer<T, R: Into<Value>>(
        &self,
        query: &Query,
        public_url: &str,
        listing: Listing<T>,
        mut view: impl FnMut(T) -> R,
    ) -> Value {
        let size = i64::from(self.size);
        let last = listing.total.map(|total| {
            let total = i64::try_from(total).unwrap_or(i64::MAX);
            (total.div_euclid(size) + i64::from(total.rem_euclid(size) > 0)).clamp(1, MAX_PAGE)
        });
        // The table answers a cursor after a page that just filled up, with nothing behind it.
        let next = listing.next.filter(|_| last.is_none_or(|last| self.page < last));
        let link = |page: i64, cursor: Option<&Cursor>| link(query, public_url, page, cursor);
        let data: Vec<Value> = listing.records.into_iter().map(|record| view(record).into()).collect();
        let from = (self.page - 1) * size + 1;
        let to = from - 1 + i64::try_from(data.len()).unwrap_or(0);
        let mut answer = json!({
            "links": {
                "first": link(1, None),
                "last": last.map(|last| link(last, None)),
                "prev": (self.page > 1).then(|| link(self.page - 1, None)),
                "next": next.map(|cursor| link(self.page + 1, Some(&cursor))),
            },
            "meta": {
                "current_page": self.page,
                "from": (!data.is_empty()).then_some(from),
                "to": (!data.is_empty()).then_some(to),
                "last_page": last,
                "per_page": size,
                "total": listing.total,
                "path": format!("{public_url}{}", query.path),
            },
        });
        // Moved: `json!` would copy the whole page.
        answer["data"] = Value::Array(data);
        answer
    }
}

fn order(text: &str, sort_keys: SortKeys) -> std::result::Result<Order, String> {
    let (descending, word) = text.strip_prefix('-').map_or((false, text), |word| (true, word));
    let found = sort_keys.iter().find(|(name, _)| *name == word);
    found.map(|(_, by)| Order { by: *by, descending }).ok_or_else(|| {
        let names: Vec<_> = sort_keys.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}, with - in front for descending", names.join(", "))
    })
}

fn link(query: &Query, public_url: &str, page: i64, cursor: Option<&Cursor>) -> String {
    let kept = query.pairs.iter().filter(|(name, _)| name != "page" && name != "cursor");
    let mut pairs: Vec<(&str, String)> = kept.map(|(name, value)| (name.as_str(), value.clone())).collect();
    pairs.push(("page", page.to_string()));
    pairs.extend(cursor.map(|cursor| ("cursor", encode(cursor))));
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    format!("{public_url}{}?{}", query.path, pairs.join("&"))
}

fn encode(cursor: &Cursor) -> String {
    // A cursor is a map of texts, which JSON can always hold.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn decode(text: &str) -> Option<Cursor> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Tree;

    const KEYS: SortKeys = &[("id", SortBy::Id), ("name", SortBy::Name)];
    const BY_ID: Order = Order { by: SortBy::Id, descending: false };

    fn query(text: &str) -> Query {
        let pairs = crate::http::tree::urlencoded_pairs(text.as_bytes()).unwrap();
        Query { tree: Tree::from_pairs(pairs.clone()).unwrap(), path: "/v1/servers".to_owned(), pairs }
    }

    fn read(text: &str) -> Result<Paging> {
        let query = query(text);
        let mut fields = query.fields();
        let paging = Paging::read(&mut fields, KEYS, BY_ID);
        fields.finish(|| Some(paging))
    }

    fn cursor() -> Cursor {
        serde_json::from_value(json!({"pk": "A#a#SERVERS", "sk": "000000000015"})).unwrap()
    }

    #[test]
    fn reads_size_page_and_order() {
        let paging = read("").unwrap();
        assert_eq!((paging.size, paging.page, paging.order), (15, 1, BY_ID));
        let paging = read("page_size=100&page=3&sort=-name").unwrap();
        assert_eq!((paging.size, paging.page), (100, 3));
        assert_eq!(paging.order, Order { by: SortBy::Name, descending: true });
        let paging = read(&format!("page=2&cursor={}", encode(&cursor()))).unwrap();
        assert_eq!(paging.cursor, Some(cursor()));
    }

    #[test]
    fn names_every_fault() {
        let cases = [
            ("page_size=14", "page_size", "must be between 15 and 100"),
            ("page_size=101", "page_size", "must be between 15 and 100"),
            ("page=0", "page", "must be between 1 and 1000"),
            ("page=x", "page", "must be a whole number"),
            ("sort=size", "sort", "must be one of id, name, with - in front for descending"),
            ("sort=--id", "sort", "must be one of id, name, with - in front for descending"),
            ("cursor=!", "cursor", "is not a cursor of this list"),
        ];
        for (text, field, message) in cases {
            let error = read(text).unwrap_err();
            let told: Vec<_> = error.fields().unwrap().iter().collect();
            assert_eq!(told, [(field, &[message.to_owned()][..])], "{text}");
        }
        assert_eq!(read("page_size=1&page=0&sort=x").unwrap_err().fields().unwrap().iter().count(), 3);
    }

    #[test]
    fn links_keep_the_other_parameters() {
        let query = query("page_size=15&tags[manual]=1&page=2");
        let paging = read("page_size=15&page=2").unwrap();
        let listing = Listing { records: (15..30).collect(), next: Some(cursor()), total: Some(31) };
        let answer = paging.answer(&query, "https://holdfast.example", listing, |n: u64| n);
        let base = "https://holdfast.example/v1/servers?page%5Fsize=15&tags%5Bmanual%5D=1&page=";
        assert_eq!(answer["links"]["first"], format!("{base}1"));
        assert_eq!(answer["links"]["prev"], format!("{base}1"));
        assert_eq!(answer["links"]["last"], format!("{base}3"));
        assert!(answer["links"]["next"].as_str().unwrap().starts_with(&format!("{base}3&cursor=")));
        assert_eq!(answer["meta"]["current_page"], 2);
        assert_eq!((&answer["meta"]["from"], &answer["meta"]["to"]), (&json!(16), &json!(30)));
    }

    #[test]
    fn the_last_page_has_no_next() {
        let paging = read("").unwrap();
        let full = Listing { records: (0..15).collect(), next: Some(cursor()), total: Some(15) };
        let answer = paging.answer(&query(""), "", full, |n: u64| n);
        assert_eq!(answer["links"]["next"], Value::Null);
        let empty = Listing { records: Vec::new(), next: None, total: Some(0) };
        let answer = paging.answer(&query(""), "", empty, |n: u64| n);
        assert_eq!((&answer["meta"]["last_page"], &answer["meta"]["from"]), (&json!(1), &Value::Null));
    }

    #[tokio::test]
    async fn a_number_alone_walks_the_pages_before_it() {
        let reads = std::cell::Cell::new(0);
        let fetch = |_, _| {
            reads.set(reads.get() + 1);
            let next = (reads.get() < 3).then(cursor);
            std::future::ready(Ok(Listing { records: vec![reads.get()], next, total: Some(31) }))
        };
        assert_eq!(read("page=3").unwrap().fetch(fetch).await.unwrap().records, [3]);
        reads.set(0);
        assert_eq!(read("page=9").unwrap().fetch(fetch).await.unwrap().records, [0; 0]);
        assert_eq!(reads.get(), 3);
    }
}
