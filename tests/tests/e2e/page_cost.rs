//! A page costs the page: what is read for it is the same with few and with many jobs and backups.

use holdfast_local::table::Consumed;
use holdfast_tests::history::{add_server, import_backups, import_jobs, since_last};
use holdfast_tests::installation::id;
use holdfast_tests::{Installation, Setup};
use serde_json::{Value, json};

const FEW: u64 = 50;
const MANY: u64 = 2_000;
/// What a page may read at most where its filter's time does not bound its sort: stated in the README.
const MAX_ROWS: u64 = 1_000;
/// Rows and records of a page of 15, with all that its jobs refer to.
const MAX_ITEMS: u64 = 250;

const JOB_SORTS: [&str; 5] = ["id", "name", "last_ran_at", "created_at", "updated_at"];
const BACKUP_SORTS: [&str; 5] = ["id", "name", "created_at", "started_at", "completed_at"];

/// Before all that is in the lists.
const OLD: &str = "2020-01-01T00:00:00Z";

/// An installation with long lists, and what reading costs there.
struct Costs {
    installation: Installation,
}

/// What one page read and answered.
#[derive(Debug)]
struct Page {
    consumed: Consumed,
    answer: Value,
}

impl Costs {
    async fn page(&self, path: &str) -> Page {
        let aws = self.installation.stack.aws();
        // What a process knows of a token is forgotten by then, so that each page costs the same two reads for it.
        self.installation.clock.advance(jiff::SignedDuration::from_secs(4));
        let before = aws.table_consumed();
        let answer = self.installation.api.get(path).await.expect(200).json();
        let consumed = aws.table_consumed() - before;
        assert_eq!(consumed.scans, 0, "{path}");
        Page { consumed, answer }
    }
}

fn ids(page: &Page) -> Vec<&str> {
    page.answer["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

/// Asserts that a page reads the same of few as of many.
fn assert_same(what: &str, few: &Page, many: &Page) {
    assert_eq!(ids(few).len(), 15, "{what}: a full page of few");
    assert_eq!(ids(many).len(), 15, "{what}: a full page of many");
    assert_eq!(few.consumed.items, many.consumed.items, "{what}: items");
    assert_eq!(few.consumed.requests, many.consumed.requests, "{what}: requests");
    // Names and numbers differ by a few bytes, which can reach into another unit of 4 kB.
    assert!(many.consumed.half_units <= few.consumed.half_units + 4, "{what}: {:?}", (few.consumed, many.consumed));
    assert!(many.consumed.items <= MAX_ITEMS, "{what}: {:?}", many.consumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_backups_costs_the_page() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let server = add_server(&installation.api, "127.0.0.1").await;
    let few = installation.add_job_with(server, json!({})).await;
    let many = installation.add_job_with(server, json!({})).await;
    let costs = Costs { installation };
    for (job, count) in [(&few, FEW), (&many, MANY)] {
        import_backups(&costs.installation.stack, id(job), count).await;
    }
    let mut filters = vec![
        String::new(),
        "status=completed".to_owned(),
        "tags[daily]=1".to_owned(),
        "tags[manual]=0&tags[weekly]=0".to_owned(),
        "status=completed&tags[daily]=true".to_owned(),
    ];
    filters.extend([format!("started_since={OLD}"), format!("completed_since={OLD}")]);
    filters.push(format!("status=completed&started_since={OLD}&completed_since={OLD}"));
    for sort in BACKUP_SORTS {
        for direction in ["", "-"] {
            for filter in &filters {
                let query = format!("backups?{filter}&sort={direction}{sort}");
                let [of_few, of_many] = [&few, &many].map(|job| format!("/v1/jobs/{job}/{query}"));
                let (of_few, of_many) = (costs.page(&of_few).await, costs.page(&of_many).await);
                assert_same(&query, &of_few, &of_many);
            }
        }
    }
    times_that_let_few_pass_stay_bounded(&costs, &many).await;
    totals_are_counted_once(&costs, &many).await;
    pages_join_up(&costs, &many).await;
}

/// Where a recent time is asked for under another sort.
async fn times_that_let_few_pass_stay_bounded(costs: &Costs, job: &str) {
    for (since, passing) in [(since_last(20), 20), (since_last(2), 2), (since_last(0), 0)] {
        for sort in BACKUP_SORTS {
            for name in ["started_since", "completed_since"] {
                let mut path = format!("/v1/jobs/{job}/backups?{name}={since}&sort={sort}&page_size=100");
                let mut found = 0;
                let mut pages = 0;
                loop {
                    let page = costs.page(&path).await;
                    assert!(page.consumed.items <= MAX_ROWS + 150, "{path}: {:?}", page.consumed);
                    found += ids(&page).len();
                    pages += 1;
                    let Some(next) = page.answer["links"]["next"].as_str() else { break };
                    path = next.strip_prefix(costs.installation.stack.base_url()).unwrap().to_owned();
                }
                assert_eq!(found, passing, "{name} {since} by {sort}");
                let bounded = !matches!(sort, "id" | "name");
                assert!(!bounded || pages == 1, "{name} by {sort} took {pages} pages: the times bound each other");
            }
        }
    }
}

async fn totals_are_counted_once(costs: &Costs, job: &str) {
    for filter in
        ["", "status=completed", "status=failed", "tags[daily]=1", "tags[manual]=1&status=completed", "status=running"]
    {
        let mut path = format!("/v1/jobs/{job}/backups?page_size=100&{filter}");
        let first = costs.page(&path).await;
        let total = first.answer["meta"]["total"].as_u64().unwrap_or_else(|| panic!("no total: {filter}"));
        assert_eq!(first.answer["meta"]["last_page"], total.div_ceil(100).max(1), "{filter}");
        let mut found = 0;
        loop {
            let page = costs.page(&path).await;
            found += ids(&page).len() as u64;
            let Some(next) = page.answer["links"]["next"].as_str() else { break };
            path = next.strip_prefix(costs.installation.stack.base_url()).unwrap().to_owned();
        }
        assert_eq!(found, total, "{filter}");
    }
}

/// A page by its number is the one that links lead to, and costs rows, not records.
async fn pages_join_up(costs: &Costs, job: &str) {
    for query in ["sort=name", "status=completed&sort=-created_at", "tags[daily]=0&sort=id", "sort=-id"] {
        let first = costs.page(&format!("/v1/jobs/{job}/backups?{query}")).await;
        let mut linked = first;
        for _ in 0..3 {
            let next = linked.answer["links"]["next"].as_str().unwrap().to_owned();
            linked = costs.page(next.strip_prefix(costs.installation.stack.base_url()).unwrap()).await;
        }
        let numbered = costs.page(&format!("/v1/jobs/{job}/backups?{query}&page=4")).await;
        assert_eq!(ids(&linked), ids(&numbered), "{query}");
        assert_eq!(linked.answer["links"]["prev"], numbered.answer["links"]["prev"]);
        let far = costs.page(&format!("/v1/jobs/{job}/backups?{query}&page=60")).await;
        assert!(far.consumed.half_units < 2 * 400, "{query}: {:?}", far.consumed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_jobs_costs_the_page() {
    // The same jobs, few and many of them, in two installations: lists are of the account.
    let mut pages = Vec::new();
    for count in [FEW, MANY] {
        let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
        let server = add_server(&installation.api, "127.0.0.1").await;
        let other = add_server(&installation.api, "127.0.0.2").await;
        let model = id(&installation.add_job_with(server, json!({})).await);
        let model = installation.service().job(&installation.account(), model).await.unwrap();
        import_jobs(&installation.stack, &model, &[server, other], count).await;
        installation.api.delete(&format!("/v1/jobs/{}", model.id)).await.expect(204);
        let costs = Costs { installation };
        let mut of_count = Vec::new();
        for sort in JOB_SORTS {
            for direction in ["", "-"] {
                for filter in ["", "host=127.0.0.1", &format!("modified_since={OLD}")] {
                    let path = format!("/v1/jobs?{filter}&sort={direction}{sort}");
                    let page = costs.page(&path).await;
                    if filter.starts_with("host") {
                        assert_eq!(page.answer["meta"]["total"], count.div_ceil(2), "{path}");
                    }
                    of_count.push((path, page));
                }
            }
        }
        // Few pass: all of a small account is seen at once, of a large one so much at a time.
        let page = costs.page(&format!("/v1/jobs?modified_since={}&sort=name", since_last(0))).await;
        assert_eq!(ids(&page).len(), 0);
        assert!(page.consumed.items <= MAX_ROWS + MAX_ITEMS, "{:?}", page.consumed);
        assert_eq!(page.answer["links"]["next"].is_null(), count < MAX_ROWS);
        pages.push(of_count);
    }
    let many = pages.pop().unwrap();
    for ((path, few), (_, many)) in pages.pop().unwrap().iter().zip(&many) {
        assert_same(path, few, many);
    }
}

/// How many a list answers, and how many it says there are.
async fn counted(installation: &Installation, path: &str) -> (usize, u64) {
    let answer = installation.api.get(path).await.expect(200).json();
    (answer["data"].as_array().unwrap().len(), answer["meta"]["total"].as_u64().unwrap())
}

fn ids_of(backups: &Value) -> Vec<String> {
    backups.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_under_the_host_that_their_server_has() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let one = add_server(&installation.api, "127.0.0.1").await;
    let two = add_server(&installation.api, "127.0.0.2").await;
    let job = installation.add_job_with(one, json!({})).await;
    let on = |host: &str| format!("/v1/jobs?host={host}&sort=name");
    assert_eq!(counted(&installation, &on("127.0.0.1")).await, (1, 1));
    assert_eq!(counted(&installation, &on("127.0.0.2")).await, (0, 0));
    let moved = json!({"compute": {"type": "server", "server_id": two}});
    installation.api.patch(&format!("/v1/jobs/{job}"), moved).await.expect(204);
    assert_eq!(counted(&installation, &on("127.0.0.1")).await, (0, 0));
    assert_eq!(counted(&installation, &on("127.0.0.2")).await, (1, 1));
    installation.api.patch(&format!("/v1/servers/{two}"), json!({"host": "127.0.0.9"})).await.expect(200);
    assert_eq!(counted(&installation, &on("127.0.0.2")).await, (0, 0));
    assert_eq!(counted(&installation, &on("127.0.0.9")).await, (1, 1));
    installation.api.delete(&format!("/v1/jobs/{job}")).await.expect(204);
    assert_eq!(counted(&installation, &on("127.0.0.9")).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facets_and_newest_follow_what_happens() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let server = add_server(&installation.api, "127.0.0.1").await;
    let job = installation.add_job_with(server, json!({})).await;
    let first = installation.start_backup(&job).await;
    let of = |query: &str| format!("/v1/jobs/{job}/backups?{query}");
    assert_eq!(counted(&installation, &of("status=pending")).await, (1, 1));
    let (account, service) = (installation.account(), installation.service());
    service.cancel_backup(&account, id(&job), id(&first)).await.unwrap();
    assert_eq!(counted(&installation, &of("status=pending")).await, (0, 0));
    assert_eq!(counted(&installation, &of("status=cancelled&tags[manual]=1")).await, (1, 1));

    // A job shows its newest three, also after one of them was deleted.
    for _ in 0..4 {
        installation.advance(jiff::SignedDuration::from_secs(1));
        installation.start_backup(&job).await;
    }
    let last =
        || async { ids_of(&installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data()["last_backups"]) };
    assert_eq!(counted(&installation, &of("status=pending")).await, (4, 4), "the first is there no more");
    let listed = ids_of(&installation.api.get(&of("")).await.expect(200).data());
    assert_eq!(last().await, listed[..3]);
    let gone = service.backup(&account, id(&listed[1])).await.unwrap();
    assert!(service.forget_backup(&gone).await.unwrap().is_yes());
    assert_eq!(last().await, [&listed[0], &listed[2], &listed[3]].map(Clone::clone));
    assert_eq!(counted(&installation, &of("status=pending&sort=-name")).await, (3, 3));
    assert_eq!(counted(&installation, &of("tags[manual]=1")).await, (4, 4));
    assert_eq!(counted(&installation, &of("")).await, (4, 4));
}
