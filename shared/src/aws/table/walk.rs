//! Walking a list by its narrow rows: which records stand on a page, without reading those that do not.
//!
//! A list's rows are those of one index, or of several facets, which are merged. What a filter asks for beyond that is
//! either a range of the sort attribute, or is looked at row by row; then a page reads at most [`MAX_ROWS`] rows (or one
//! page a facet, where that is more), and one that is short because of that has a next page all the same.

use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use aws_sdk_dynamodb::types::AttributeValue;

use super::expression::Expressions;
use super::{Condition, Cursor, Item, Key, Order, Page, Query, SortBy, Table, keys};
use crate::error::{Error, Result};

/// How many rows a page reads at most when it has to look at each: some 400 kB, a hundred read units.
const MAX_ROWS: usize = 1_000;
/// How many rows are passed over at once on the way to a page that is named by its number.
const SKIP_ROWS: usize = 1_000;
/// How many facets are read at once.
const AT_ONCE: usize = 8;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// How many records a page holds.
    pub size: i32,
    /// How many pages to pass over; their rows are read, their records are not.
    pub skip: u32,
    /// Where the list goes on; from its beginning without one.
    pub after: Option<Cursor>,
}

impl Window {
    /// The first so many.
    pub fn first(size: i32) -> Self {
        Self { size, ..Self::default() }
    }
}

/// A list: where its rows are, in what order, and which of them count.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// The partition of the records; cursors name it.
    pub home: String,
    /// The order of the whole list.
    pub order: Order,
    /// The partitions of the rows; `None` are the records' own.
    pub facets: Option<Vec<String>>,
    /// Ranges of the sort attribute in ascending order, both ends included; none is all of it.
    pub ranges: Vec<(String, String)>,
    /// What is looked at row by row.
    pub conditions: Vec<Condition>,
}

/// A place in a list: the value of the sort attribute, and the id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    value: String,
    sk: String,
}

/// The rows of one partition, in order.
#[derive(Debug, Default)]
struct Rows {
    found: Vec<Place>,
    /// How far was read; `None` is to the end.
    reached: Option<Place>,
}

impl List {
    /// All records of a partition.
    pub fn of(home: String, order: Order) -> Self {
        Self { home, order, facets: None, ranges: Vec::new(), conditions: Vec::new() }
    }

    fn is_plain(&self) -> bool {
        self.facets.is_none() && self.ranges.is_empty() && self.conditions.is_empty()
    }

    fn index(&self) -> Option<&'static str> {
        let by_id = self.facets.is_none().then_some(keys::ID_INDEX);
        self.order.by.index().or(by_id)
    }

    /// The attribute that the rows are sorted by.
    fn attribute(&self) -> &'static str {
        self.index().unwrap_or("sk")
    }

    fn check(&self, after: Option<&Cursor>) -> Result<()> {
        match after {
            Some(after) if !after.is_in(&self.home) || !after.is_of(self.order.by) => Err(super::not_of_this_list()),
            _ => Ok(()),
        }
    }

    fn place_of(&self, after: &Cursor) -> Option<Place> {
        let text = |name: &str| after.0.get(name).cloned();
        let sk = text("sk")?;
        let value = self.order.by.index().map_or_else(|| Some(sk.clone()), text)?;
        Some(Place { value, sk })
    }

    fn cursor_at(&self, place: &Place) -> Cursor {
        let sorted = self.order.by.index().map(|name| (name.to_owned(), place.value.clone()));
        let key = [("pk".to_owned(), self.home.clone()), ("sk".to_owned(), place.sk.clone())];
        Cursor(key.into_iter().chain(sorted).collect())
    }

    /// Whether `one` comes before `other`.
    fn is_before(&self, one: &Place, other: &Place) -> bool {
        if self.order.descending { one.value > other.value } else { one.value < other.value }
    }

    /// What of the ranges lies after a place, in the order of the walk; for each, whether the place is in it.
    fn ranges_after(&self, after: Option<&Place>) -> Vec<(Option<(String, String)>, bool)> {
        if self.ranges.is_empty() {
            return vec![(None, after.is_some())];
        }
        let mut ranges = self.ranges.clone();
        if self.order.descending {
            ranges.reverse();
        }
        let is_passed = |(from, to): &(String, String)| match after {
            Some(place) if self.order.descending => place.value < *from,
            Some(place) => place.value > *to,
            None => false,
        };
        let is_in = |(from, to): &(String, String)| after.is_some_and(|at| at.value >= *from && at.value <= *to);
        let left = ranges.into_iter().filter(|range| !is_passed(range));
        left.map(|range| (Some(range.clone()), is_in(&range))).collect()
    }
}

impl Table {
    /// One page of a list.
    pub(crate) async fn list<T: DeserializeOwned>(&self, list: &List, window: &Window) -> Result<Page<T>> {
        list.check(window.after.as_ref())?;
        if list.is_plain() && window.skip == 0 {
            return self.plain_page(list, window).await;
        }
        let Some(mut after) = self.skip(list, window).await? else {
            return Ok(Page { records: Vec::new(), next: None });
        };
        let size = usize::try_from(window.size).map_err(Error::internal)?;
        let rows = self.walk(list, after.take().as_ref(), size).await?;
        let keys = rows.found.into_iter().map(|place| Key { pk: list.home.clone(), sk: place.sk });
        let records = self.in_order(keys.collect()).await?;
        Ok(Page { records, next: rows.reached.map(|place| list.cursor_at(&place)) })
    }

    /// Records by their keys, in that order; what went in between is left out.
    pub(crate) async fn in_order<T: DeserializeOwned>(&self, keys: Vec<Key>) -> Result<Vec<T>> {
        let mut records = self.records(keys.clone()).await?;
        keys.iter().filter_map(|key| records.take(key).transpose()).collect()
    }

    /// One page of a list that is not filtered. DynamoDB answers at most 1 MB at once, so it can take several reads.
    async fn plain_page<T: DeserializeOwned>(&self, list: &List, window: &Window) -> Result<Page<T>> {
        let mut page = Page { records: Vec::new(), next: window.after.clone() };
        loop {
            let limit = window.size - i32::try_from(page.records.len()).map_err(Error::internal)?;
            let query = Query { order: list.order, limit, after: page.next.as_ref(), ..Query::of(list.home.clone()) };
            let more = self.page(query).await?;
            page.records.extend(more.records);
            page.next = more.next;
            if page.next.is_none() || i32::try_from(page.records.len()).is_ok_and(|read| read >= window.size) {
                return Ok(page);
            }
        }
    }

    /// Passes over pages; `None` when the list ends on the way. With conditions a page ends where a client that follows
    /// its links would have gone on, so that both number pages alike.
    async fn skip(&self, list: &List, window: &Window) -> Result<Option<Option<Place>>> {
        let size = usize::try_from(window.size).map_err(Error::internal)?;
        let mut after = window.after.as_ref().and_then(|after| list.place_of(after));
        let mut left = size.saturating_mul(window.skip as usize);
        while left > 0 {
            let step = if list.conditions.is_empty() { left.min(SKIP_ROWS) } else { size };
            let rows = self.walk(list, after.as_ref(), step).await?;
            let Some(reached) = rows.reached else { return Ok(None) };
            after = Some(reached);
            left -= step;
        }
        Ok(Some(after))
    }

    /// The first `size` rows after a place that count, and where to go on.
    async fn walk(&self, list: &List, after: Option<&Place>, size: usize) -> Result<Rows> {
        let partitions = list.facets.clone().unwrap_or_else(|| vec![list.home.clone()]);
        let budget = (MAX_ROWS / partitions.len().max(1)).max(size + 1);
        let reads: Vec<_> =
            partitions.into_iter().map(|pk| self.partition(list, pk, after, size + 1, budget)).collect();
        let parts: Vec<Rows> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(merge(list, parts, size))
    }

    /// Up to about `wanted` rows of a partition that count, from at most `budget` that are read.
    async fn partition(
        &self,
        list: &List,
        pk: String,
        after: Option<&Place>,
        wanted: usize,
        budget: usize,
    ) -> Result<Rows> {
        let mut rows = Rows::default();
        let (mut left, mut limit) = (budget, wanted);
        let mut ranges = list.ranges_after(after).into_iter().peekable();
        while let Some((range, is_in)) = ranges.next() {
            let mut start = after.filter(|_| is_in).cloned();
            loop {
                let (found, reached) = self.rows(list, &pk, range.as_ref(), start.as_ref(), limit).await?;
                rows.found.extend(found);
                left = left.saturating_sub(limit);
                rows.reached = reached.clone();
                if rows.found.len() >= wanted || (left == 0 && reached.is_some()) {
                    if reached.is_none() && ranges.peek().is_some() {
                        rows.reached = rows.found.last().cloned();
                    }
                    return Ok(rows);
                }
                let Some(reached) = reached else { break };
                start = Some(reached);
                limit = (limit * 2).min(left);
            }
        }
        Ok(rows)
    }

    /// One read of rows: at most `limit` are looked at. Also answers how far that was; `None` is to the end.
    async fn rows(
        &self,
        list: &List,
        pk: &str,
        range: Option<&(String, String)>,
        start: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Place>, Option<Place>)> {
        let (attribute, index) = (list.attribute(), list.index());
        let mut expressions = Expressions::default();
        let mut condition = format!("pk = {}", expressions.value(AttributeValue::S(pk.to_owned())));
        let name = expressions.name(attribute);
        if let Some((from, to)) = range {
            let [from, to] = [from, to].map(|end| expressions.value(AttributeValue::S(end.clone())));
            condition.push_str(&format!(" AND {name} BETWEEN {from} AND {to}"));
        }
        let filter = (!list.conditions.is_empty()).then(|| Condition::All(list.conditions.clone()));
        let filter = filter.map(|filter| filter.render(&mut expressions));
        let projection = if attribute == "sk" { name } else { format!("sk, {name}") };
        let (names, values) = expressions.into_parts();
        let start = start.map(|place| {
            let mut key = Key { pk: pk.to_owned(), sk: place.sk.clone() }.attributes();
            key.extend(index.map(|index| (index.to_owned(), AttributeValue::S(place.value.clone()))));
            key
        });
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(index.map(str::to_owned))
            .key_condition_expression(condition)
            .set_filter_expression(filter)
            .projection_expression(projection)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .scan_index_forward(!list.order.descending)
            .consistent_read(true)
            .limit(i32::try_from(limit).map_err(Error::internal)?)
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| Error::unavailable("the table", error))?;
        let place = |item: &Item| {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
            Some(Place { value: text(attribute)?, sk: text("sk")? })
        };
        let found = answer.items.unwrap_or_default().iter().filter_map(place).collect();
        Ok((found, answer.last_evaluated_key.as_ref().and_then(place)))
    }
}

/// The first `size` rows of all parts together. What lies beyond the part that was read least far cannot be told yet.
fn merge(list: &List, parts: Vec<Rows>, size: usize) -> Rows {
    let least = |one: Place, other: Place| if list.is_before(&other, &one) { other } else { one };
    let horizon = parts.iter().filter_map(|part| part.reached.clone()).reduce(least);
    let mut found: Vec<Place> = parts.into_iter().flat_map(|part| part.found).collect();
    found.retain(|place| horizon.as_ref().is_none_or(|horizon| !list.is_before(horizon, place)));
    found.sort_unstable_by(|one, other| match list.order.descending {
        true => other.value.cmp(&one.value),
        false => one.value.cmp(&other.value),
    });
    let reached = if found.len() > size { found.get(size - 1).cloned() } else { horizon };
    found.truncate(size);
    Rows { found, reached }
}

/// The times of a sort attribute from `first` on.
pub(super) fn from(first: jiff::Timestamp) -> (String, String) {
    // A time before the year 0 begins like what has none.
    (keys::sortable(first).max("0".to_owned()), "~".to_owned())
}

/// The values of those that have none.
pub(super) fn without_value() -> (String, String) {
    ("-".to_owned(), "-~".to_owned())
}

/// The attribute holds a time, and it is `since` or later.
pub(super) fn at_least(by: SortBy, since: jiff::Timestamp) -> Condition {
    Condition::AtLeast(by.index().unwrap_or("sk"), AttributeValue::S(keys::sortable(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(descending: bool) -> List {
        List::of("A#a#JOBS".to_owned(), Order { by: SortBy::Name, descending })
    }

    fn place(value: &str) -> Place {
        Place { value: value.to_owned(), sk: value.to_owned() }
    }

    fn rows(found: &str, reached: Option<&str>) -> Rows {
        Rows { found: found.split_whitespace().map(place).collect(), reached: reached.map(place) }
    }

    fn merged(descending: bool, parts: Vec<Rows>, size: usize) -> (String, Option<String>) {
        let rows = merge(&list(descending), parts, size);
        let found: Vec<_> = rows.found.into_iter().map(|place| place.value).collect();
        (found.join(" "), rows.reached.map(|place| place.value))
    }

    fn told(found: &str, reached: Option<&str>) -> (String, Option<String>) {
        (found.to_owned(), reached.map(str::to_owned))
    }

    #[test]
    fn parts_are_merged_as_far_as_all_were_read() {
        let parts = || vec![rows("a d", None), rows("b c e", Some("e")), rows("", None)];
        assert_eq!(merged(false, parts(), 2), told("a b", Some("b")));
        assert_eq!(merged(false, parts(), 5), told("a b c d e", Some("e")));
        assert_eq!(merged(false, parts(), 9), told("a b c d e", Some("e")));
        let parts = || vec![rows("a z", None), rows("c", Some("m"))];
        assert_eq!(merged(false, parts(), 9), told("a c", Some("m")), "between m and z there can be more");
        assert_eq!(merged(false, vec![rows("", Some("m"))], 9), told("", Some("m")), "an empty page with a next one");
        let parts = vec![rows("z d", None), rows("y x", Some("x"))];
        assert_eq!(merged(true, parts, 9), told("z y x", Some("x")));
        assert_eq!(merged(false, vec![rows("a b", None)], 2), told("a b", None), "a full last page has no next one");
        assert_eq!(merged(false, vec![], 2), told("", None));
    }

    #[test]
    fn ranges_go_on_where_the_walk_was() {
        let mut list = list(false);
        list.ranges = vec![without_value(), ("2026".to_owned(), "~".to_owned())];
        let left = |list: &List, after: Option<&str>| -> Vec<(String, bool)> {
            let ranges = list.ranges_after(after.map(place).as_ref());
            ranges.into_iter().map(|(range, is_in)| (range.unwrap().0, is_in)).collect()
        };
        let both = [("-".to_owned(), false), ("2026".to_owned(), false)];
        assert_eq!(left(&list, None), both);
        assert_eq!(left(&list, Some("-#x")), [("-".to_owned(), true), ("2026".to_owned(), false)]);
        assert_eq!(left(&list, Some("2020")), both[1..]);
        assert_eq!(left(&list, Some("2026-05")), [("2026".to_owned(), true)]);
        list.order.descending = true;
        assert_eq!(left(&list, Some("2020")), both[..1]);
        assert_eq!(left(&list, Some("2026-05")), [("2026".to_owned(), true), ("-".to_owned(), false)]);
    }
}
