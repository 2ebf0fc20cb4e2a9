//! Pages of keys: prefix, delimiter and continuation as `ListObjectsV2` defines them. A page costs the page: a common
//! prefix is stepped over with one seek, however many keys are under it.

use rusqlite::{Row, params};

use super::catalog::Tx;
use super::checksum::Checksum;
use super::fault::Result;

/// Sorts after every key: no UTF-8 text holds this byte.
const END: &[u8] = &[0xff];

/// Which keys to list.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    /// The first key that may be listed.
    pub(super) from: Vec<u8>,
    /// Keys and common prefixes together.
    pub(super) limit: usize,
}

/// One listed key.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    pub(super) checksum: Checksum,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<Listed>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page starts, if there is one.
    pub(super) next: Option<Vec<u8>>,
}

impl Page {
    /// Keys and common prefixes together.
    pub(super) fn len(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }
}

/// The first key after `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The first key after all that start with `prefix`.
pub(super) fn beyond(prefix: &[u8]) -> Vec<u8> {
    match prefix.split_last() {
        // UTF-8 never holds 0xff, so that the sum is a byte.
        Some((last, rest)) => [rest, &[last.saturating_add(1)]].concat(),
        None => END.to_vec(),
    }
}

impl Tx<'_> {
    /// Lists a page of a bucket's keys.
    pub(super) fn list_objects(&self, bucket: &str, query: &Query) -> Result<Page> {
        self.require_bucket(bucket)?;
        let mut page = Page::default();
        if query.limit == 0 {
            return Ok(page);
        }
        let mut from = query.from.clone().max(query.prefix.clone().into_bytes());
        while let Some(stepped_over) = self.list_until_prefix(bucket, query, &from, &mut page)? {
            from = stepped_over;
        }
        Ok(page)
    }

    /// Adds keys to the page up to and with the first common prefix; answers where to go on after that prefix, or
    /// `None` once the page or the range is done.
    fn list_until_prefix(&self, bucket: &str, query: &Query, from: &[u8], page: &mut Page) -> Result<Option<Vec<u8>>> {
        let mut statement = self.sql.prepare_cached(
            "SELECT key, size, etag, modified, checksum FROM object
             WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
        )?;
        let mut rows = statement.query(params![bucket, from, beyond(query.prefix.as_bytes())])?;
        while let Some(row) = rows.next()? {
            let key: Vec<u8> = row.get("key")?;
            let key = String::from_utf8_lossy(&key).into_owned();
            if page.len() == query.limit {
                page.next = Some(key.into_bytes());
                return Ok(None);
            }
            if let Some(prefix) = common_prefix(&key, query) {
                let next = beyond(prefix.as_bytes());
                page.prefixes.push(prefix.to_owned());
                return Ok(Some(next));
            }
            page.objects.push(read_listed(key, row)?);
        }
        Ok(None)
    }
}

fn common_prefix<'a>(key: &'a str, query: &Query) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref()?;
    let start = query.prefix.len();
    let found = key.get(start..)?.find(delimiter)?;
    key.get(..start + found + delimiter.len())
}

fn read_listed(key: String, row: &Row<'_>) -> Result<Listed> {
    let checksum: String = row.get("checksum")?;
    Ok(Listed {
        key,
        size: row.get("size")?,
        etag: row.get("etag")?,
        modified: row.get("modified")?,
        checksum: serde_json::from_str(&checksum)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_enclose_exactly_the_prefix() {
        assert_eq!(beyond(b"a/"), b"a0");
        assert_eq!(beyond(b""), END);
        assert!(b"a/\xf4\x8f\xbf\xbf".as_slice() < beyond(b"a/").as_slice());
        assert_eq!(after(b"a"), b"a\0");
    }

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_after_the_prefix() {
        let query = |prefix: &str| Query { prefix: prefix.into(), delimiter: Some("/".into()), ..Query::default() };
        assert_eq!(common_prefix("a/b/c", &query("")), Some("a/"));
        assert_eq!(common_prefix("a/b/c", &query("a/")), Some("a/b/"));
        assert_eq!(common_prefix("a/b/c", &query("a/b/")), None);
        assert_eq!(common_prefix("a/b/c", &Query::default()), None);
    }
}
