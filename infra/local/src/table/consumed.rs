//! What callers consume of the table, as DynamoDB would bill it: so that a test can tell what a page costs.

use std::sync::atomic::{AtomicU64, Ordering};

use dynoxide::DynoxideError;
use dynoxide::actions::batch_get_item::{BatchGetItemRequest, BatchGetItemResponse};
use dynoxide::actions::get_item::{GetItemRequest, GetItemResponse};
use dynoxide::actions::query::{QueryRequest, QueryResponse};
use dynoxide::actions::scan::{ScanRequest, ScanResponse};
use dynoxide::types::ConsumedCapacity;

/// Reads so far. The difference of two is what was read between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Requests that read.
    pub requests: u64,
    /// Items that were looked at: `ScannedCount` of queries, items that were asked for by their keys.
    pub items: u64,
    /// Read capacity, in half units: the smallest amount there is.
    pub half_units: u64,
    /// Scans, which no surface should need.
    pub scans: u64,
}

impl std::ops::Sub for Consumed {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            items: self.items - earlier.items,
            half_units: self.half_units - earlier.half_units,
            scans: self.scans - earlier.scans,
        }
    }
}

/// Counts; shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: AtomicU64,
    items: AtomicU64,
    half_units: AtomicU64,
    scans: AtomicU64,
}

type Result<T> = std::result::Result<T, DynoxideError>;

impl Meter {
    pub(super) fn read(&self) -> Consumed {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Consumed {
            requests: now(&self.requests),
            items: now(&self.items),
            half_units: now(&self.half_units),
            scans: now(&self.scans),
        }
    }

    pub(super) fn get_item(
        &self,
        mut request: GetItemRequest,
        run: impl FnOnce(GetItemRequest) -> Result<GetItemResponse>,
    ) -> Result<GetItemResponse> {
        let asked = ask(&mut request.return_consumed_capacity);
        let mut answer = run(request)?;
        self.count(1, answer.consumed_capacity.iter());
        answer.consumed_capacity = answer.consumed_capacity.filter(|_| asked);
        Ok(answer)
    }

    pub(super) fn batch_get_item(
        &self,
        mut request: BatchGetItemRequest,
        run: impl FnOnce(BatchGetItemRequest) -> Result<BatchGetItemResponse>,
    ) -> Result<BatchGetItemResponse> {
        let asked = ask(&mut request.return_consumed_capacity);
        let items = request.request_items.values().map(|table| table.keys.len()).sum();
        let mut answer = run(request)?;
        self.count(items, answer.consumed_capacity.iter().flatten());
        answer.consumed_capacity = answer.consumed_capacity.filter(|_| asked);
        Ok(answer)
    }

    pub(super) fn query(
        &self,
        mut request: QueryRequest,
        run: impl FnOnce(QueryRequest) -> Result<QueryResponse>,
    ) -> Result<QueryResponse> {
        let asked = ask(&mut request.return_consumed_capacity);
        let mut answer = run(request)?;
        self.count(answer.scanned_count, answer.consumed_capacity.iter());
        answer.consumed_capacity = answer.consumed_capacity.filter(|_| asked);
        Ok(answer)
    }

    pub(super) fn scan(
        &self,
        mut request: ScanRequest,
        run: impl FnOnce(ScanRequest) -> Result<ScanResponse>,
    ) -> Result<ScanResponse> {
        let asked = ask(&mut request.return_consumed_capacity);
        let mut answer = run(request)?;
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.count(answer.scanned_count, answer.consumed_capacity.iter());
        answer.consumed_capacity = answer.consumed_capacity.filter(|_| asked);
        Ok(answer)
    }

    fn count<'a>(&self, items: usize, consumed: impl Iterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = consumed.map(|consumed| consumed.capacity_units).sum();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.items.fetch_add(items as u64, Ordering::Relaxed);
        self.half_units.fetch_add((units * 2.0).round() as u64, Ordering::Relaxed);
    }
}

/// Asks for the total where the caller did not ask; answers whether it did.
fn ask(capacity: &mut Option<String>) -> bool {
    let asked = capacity.as_deref().is_some_and(|word| word != "NONE");
    if !asked {
        *capacity = Some("TOTAL".to_owned());
    }
    asked
}
