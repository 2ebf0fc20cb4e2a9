//! Backups: lists that are filtered, sorted and tagged as asked.

use holdfast_tests::Installation;
use holdfast_tests::installation::Host;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A job with four backups: by hand, daily, weekly and monthly, and one that failed.
struct Listed {
    installation: Installation,
    job: String,
    /// In the order in which they were started.
    ids: Vec<String>,
    _host: Host,
}

impl Listed {
    async fn start() -> Self {
        let installation = Installation::start().await;
        let host = Host::start().await;
        host.write("a", "a");
        let job = installation.add_job(&host).await;
        let mut listed = Self { installation, job, ids: Vec::new(), _host: host };
        listed.run(json!({}), "completed").await;
        listed.run(json!({"is_daily": true}), "completed").await;
        listed.run(json!({"is_weekly": "1", "is_monthly": 1, "is_manual": false}), "completed").await;
        let missing = json!({"config": {"root_path": "/no/such/folder"}});
        listed.installation.api.patch(&format!("/v1/jobs/{}", listed.job), missing).await.expect(204);
        listed.run(json!({"is_manual": true, "is_daily": true}), "failed").await;
        listed
    }

    async fn run(&mut self, tags: Value, status: &str) {
        let started = self.installation.api.post(&format!("/v1/jobs/{}/backups/start", self.job), tags).await;
        let id = started.expect(202).json()["backup_id"].as_str().unwrap().to_owned();
        let ended = self.installation.ended(&id).await;
        assert_eq!(ended["status"], status, "{ended}");
        self.ids.push(id);
        // Each starts in a second of its own, so that an instant can stand between two.
        self.installation.advance(SignedDuration::from_secs(2));
    }

    /// Which of the backups a query answers, in its order, by their places in `ids`.
    async fn listed(&self, query: &str) -> Vec<usize> {
        let path = format!("/v1/jobs/{}/backups?{query}", self.job);
        let found = self.installation.api.get(&path).await.expect(200).data();
        let place =
            |backup: &Value| self.ids.iter().position(|id| backup["id"] == json!(id)).expect("a backup of ours");
        found.as_array().unwrap().iter().map(place).collect()
    }

    async fn show(&self, place: usize) -> Value {
        self.installation.api.get(&format!("/v1/backups/{}", self.ids[place])).await.expect(200).data()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_sorted_and_tagged() {
    let all = Listed::start().await;
    assert_eq!(all.listed("").await, [3, 2, 1, 0], "the newest come first");
    for (sort, expected) in
        [("created_at", [0, 1, 2, 3]), ("-started_at", [3, 2, 1, 0]), ("completed_at", [0, 1, 2, 3])]
    {
        assert_eq!(all.listed(&format!("sort={sort}")).await, expected, "{sort}");
    }
    for sort in ["id", "-id", "name", "-name"] {
        let mut found = all.listed(&format!("sort={sort}")).await;
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3], "{sort} leaves some out");
    }

    assert_eq!(all.listed("status=failed").await, [3]);
    assert_eq!(all.listed("status=completed").await, [2, 1, 0]);
    assert_eq!(all.listed("status=running").await, [0; 0]);
    assert_eq!(all.listed("tags[manual]=true").await, [3, 0], "manual goes before all other tags");
    assert_eq!(all.listed("tags[manual]=0").await, [2, 1]);
    assert_eq!(all.listed("tags[daily]=1").await, [1]);
    assert_eq!(all.listed("tags[weekly]=true&tags[monthly]=true").await, [2]);
    assert_eq!(all.listed("tags[weekly]=true&tags[daily]=true").await, [0; 0]);
    assert_eq!(all.listed("tags[manual]=true&status=completed").await, [0]);

    let third = all.show(2).await;
    let (started, completed) = (&third["started_at"], &third["completed_at"]);
    let query = |name: &str, value: &Value| format!("{name}={}", value.as_str().unwrap());
    assert_eq!(all.listed(&query("started_since", started)).await, [3, 2], "the instant itself is in");
    assert_eq!(all.listed(&query("completed_since", completed)).await, [3, 2]);
    let later: Timestamp = completed.as_str().unwrap().parse().unwrap();
    let later = json!((later + SignedDuration::from_millis(1)).to_string());
    assert_eq!(all.listed(&query("completed_since", &later)).await, [3]);
    let both = format!("{}&{}", query("started_since", started), "status=completed&sort=created_at");
    assert_eq!(all.listed(&both).await, [2]);

    let shown = all.installation.api.get(&format!("/v1/jobs/{}", all.job)).await.expect(200).data();
    let last: Vec<_> = shown["last_backups"].as_array().unwrap().iter().map(|backup| backup["id"].clone()).collect();
    assert_eq!(last, [3, 2, 1].map(|place| json!(all.ids[place])), "a job shows its last three");
    let tags = json!({"manual": 0, "hourly": 0, "daily": 0, "weekly": 1, "monthly": 1});
    assert_eq!(shown["last_backups"][1]["tags"], tags);
}
