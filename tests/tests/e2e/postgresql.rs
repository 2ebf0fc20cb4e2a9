//! PostgreSQL: every database and the roles, loaded into a fresh server by stock tools and compared; and what can fail.

use std::path::PathBuf;

use holdfast_tests::installation::Host;
use holdfast_tests::postgres::Postgres;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::secrecy::{Watch, processes_that_show};
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The password of the user `backup`: with everything that a password file gives a meaning to.
const PASSWORD: &str = r" canary:91\c4'e$(id) ";

/// A database with what is hard to dump.
const SHOP: &str = r#"
CREATE ROLE seller NOLOGIN; CREATE ROLE "Odd ""role""" LOGIN PASSWORD 'x' VALID UNTIL '2099-01-01'; GRANT seller TO "Odd ""role""";
CREATE SCHEMA "Sales"; CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, amount numeric, ratio float8, at timestamptz, bytes bytea,
    doubled numeric GENERATED ALWAYS AS (amount * 2) STORED, feeling mood, tags text[], data jsonb);
INSERT INTO plain (note, amount, ratio, at, bytes, feeling, tags, data) VALUES
    ('🗄 𝕌𝕟𝕚 ü', 'NaN', 'NaN', 'infinity', '\x00ff0a5c', 'glad', '{a,NULL,"b c"}', '{"k": [1, null]}'),
    (NULL, NULL, '-Infinity', '-infinity', '', NULL, '{}', 'null'), (E'tab\tline\nback\\slash \\.', 1.10, -0.0, '2024-02-29', NULL, 'sad', NULL, '{}')
    ON CONFLICT DO NOTHING;
CREATE TABLE "Sales"."Order items; --" ("Größe ""x""" int, "select" text); INSERT INTO "Sales"."Order items; --" VALUES (1, '-- PostgreSQL database dump complete');
CREATE TABLE "Sales".logs (line text); INSERT INTO "Sales".logs SELECT 'line ' || n FROM generate_series(1, 50000) n;
CREATE TABLE "Sales".secret (line text); INSERT INTO "Sales".secret VALUES ('hidden');
CREATE VIEW v1 AS SELECT id, note FROM plain; CREATE VIEW v2 AS SELECT count(*) AS n FROM v1; CREATE MATERIALIZED VIEW v3 AS SELECT * FROM v2;
CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN a + b; END $f$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.note := NEW.note; RETURN NEW; END $f$;
CREATE TRIGGER stamp BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day); CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO parts VALUES (1, '2024-05-05'); GRANT SELECT ON plain TO seller; COMMENT ON TABLE plain IS 'it''s plain'; CREATE SEQUENCE counter START 41; SELECT nextval('counter');
"#;

struct Rig {
    installation: Installation,
    postgres: Postgres,
    server: u64,
    _host: Host,
}

impl Rig {
    async fn start() -> Self {
        Self::start_on(Host::start().await, Installation::start().await).await
    }

    async fn start_on(host: Host, installation: Installation) -> Self {
        let postgres = Postgres::start();
        let quoted = PASSWORD.replace('\'', "''");
        postgres.sql(
            "postgres",
            &format!("CREATE ROLE backup LOGIN PASSWORD '{quoted}'; GRANT pg_read_all_data TO backup"),
        );
        let server = installation.add_server(&host).await;
        Self { installation, postgres, server, _host: host }
    }

    /// A job of the user `backup`; `more` replaces what is in its config.
    async fn job(&self, more: Value) -> String {
        let mut config = json!({
            "postgresql_host": "127.0.0.1", "postgresql_port": self.postgres.port,
            "postgresql_username": "backup", "postgresql_password": PASSWORD,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.installation.add_job_with(self.server, json!({"recipe": "postgresql-backups", "config": config})).await
    }

    async fn completed(&self, more: Value) -> Value {
        let job = self.job(more).await;
        let backup = self.installation.run(&job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        backup
    }

    /// The message of a run that fails for good at once.
    async fn refused(&self, more: Value) -> String {
        let job = self.job(more).await;
        let backup = self.installation.run(&job).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        assert_eq!(backup["failure"]["kind"], "source");
        backup["failure"]["message"].as_str().unwrap().to_owned()
    }

    /// The message of a first attempt that will be tried again.
    async fn broken(&self, more: Value) -> String {
        let job = self.job(more).await;
        let backup = self.installation.start_backup(&job).await;
        let backup = self.installation.backup_when(&backup, |backup| !backup["failure"].is_null()).await;
        assert!(matches!(backup["status"].as_str(), Some("pending" | "running")), "{backup}");
        assert_eq!(backup["files"], json!([]));
        backup["failure"]["message"].as_str().unwrap().to_owned()
    }
}

fn saved(folder: &TempDir, file: &(String, Vec<u8>)) -> PathBuf {
    let path = folder.path().join(&file.0);
    std::fs::write(&path, &file.1).unwrap();
    path
}

fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_databases_and_roles_come_back_as_they_were() {
    let rig = Rig::start().await;
    let (source, folder) = (&rig.postgres, TempDir::new().unwrap());
    source.sql("postgres", "CREATE DATABASE shop");
    source.sql("postgres", "CREATE DATABASE \"Odd name; x='y'\"");
    source.sql("postgres", "CREATE DATABASE \"Odd_name__x='y'\"");
    source.sql("shop", SHOP);
    source.sql("shop", "SELECT lo_from_bytea(4242, '\\x00010203')");
    source.sql("Odd name; x='y'", "CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n");
    let tables = (0..3000).map(|n| format!("CREATE TABLE many_{n} (n int); ")).collect::<String>();
    source.sql("Odd name; x='y'", &tables);
    // Who may read the large object and the roles' passwords: a superuser only.
    source.sql("postgres", "ALTER ROLE backup SUPERUSER");

    let watch = Watch::start("canary:91");
    let backup = rig.completed(json!({})).await;
    watch.assert_unseen();

    let files = rig.installation.unpacked(&backup).await;
    let expected = ["globals.sql", "Odd_name__x__y_.sql", "Odd_name__x__y_.2.sql", "postgres.sql", "shop.sql"];
    assert_eq!(names(&files), expected);
    let fresh = Postgres::start();
    // The one error is that the superuser exists: as documented, that is gone on from.
    let globals = saved(&folder, &files[0]);
    let loaded = fresh.client("psql", "postgres").args(["-Xq", "-f"]).arg(&globals).output().unwrap();
    let errors = String::from_utf8(loaded.stderr).unwrap();
    assert_eq!(errors.matches("ERROR:").count(), 1, "{errors}");
    assert_eq!(fresh.roles(), source.roles());
    let databases = ["Odd name; x='y'", "Odd_name__x='y'", "postgres", "shop"];
    for (database, file) in databases.iter().zip(&files[1..]) {
        if *database != "postgres" {
            fresh.sql("postgres", &format!("CREATE DATABASE \"{database}\" TEMPLATE template0"));
        }
        fresh.load(database, &saved(&folder, file));
        assert_eq!(fresh.dumped(database), source.dumped(database), "{database}");
        assert_eq!(fresh.checksums(database), source.checksums(database), "{database}");
    }
    assert!(source.checksums("shop").contains("Sales.logs|50000|"), "{}", source.checksums("shop"));
    assert_eq!(fresh.sql("shop", "SELECT add(2, 3), (SELECT n FROM v2), lo_get(4242)"), "5|3|\\x00010203");

    // The same as an archive, also without its own compression.
    let custom = json!({"postgresql_database": "shop", "postgresql_format": "custom", "postgresql_globals": false});
    let files = rig.installation.unpacked(&rig.completed(custom).await).await;
    assert_eq!(names(&files), ["shop.dump"]);
    fresh.sql("postgres", "DROP DATABASE shop");
    let restore = fresh
        .client("pg_restore", "")
        .args(["--exit-on-error", "--create", "--dbname=postgres"])
        .arg(saved(&folder, &files[0]))
        .output()
        .unwrap();
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    assert_eq!(fresh.dumped("shop"), source.dumped("shop"));
    leftovers::assert_none(&rig.installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_takes_what_is_asked_for_and_says_what_it_lacks() {
    let rig = Rig::start().await;
    let (source, folder) = (&rig.postgres, TempDir::new().unwrap());
    for database in ["shop", "closed"] {
        source.sql("postgres", &format!("CREATE DATABASE {database}"));
    }
    source.sql("shop", SHOP);
    source.sql("postgres", "REVOKE CONNECT ON DATABASE closed FROM public");
    let excluded = json!({
        "postgresql_database": "shop", "postgresql_excluded_tables": "Sales.secret, v3",
        "postgresql_excluded_table_data": "Sales.logs\npl_in",
    });
    let backup = rig.completed(excluded).await;
    let files = rig.installation.unpacked(&backup).await;
    assert_eq!(names(&files), ["globals.sql", "shop.sql"]);
    let roles = String::from_utf8_lossy(&files[0].1);
    assert!(roles.contains("PASSWORD 'SCRAM-SHA-256"), "whoever reads all data reads these, too: {roles}");
    let fresh = Postgres::start();
    let globals = saved(&folder, &files[0]);
    fresh.client("psql", "postgres").args(["-Xq", "-f"]).arg(&globals).output().unwrap();
    fresh.sql("postgres", "CREATE DATABASE shop TEMPLATE template0");
    fresh.load("shop", &saved(&folder, &files[1]));
    let (before, after) = (source.checksums("shop"), fresh.checksums("shop"));
    assert!(after.contains("Sales.logs|0|") && !after.contains("Sales.secret"), "{after}");
    let others = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("Sales.logs|") && !line.starts_with("Sales.secret|"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(others(&after), others(&before));

    for (more, says) in [
        (json!({"postgresql_password": "wrong"}), "correct the user name or the password"),
        (json!({"postgresql_username": "nobody"}), "correct the user name or the password"),
        (json!({"postgresql_database": "shop,nosuch"}), "no database \"nosuch\""),
        (json!({"postgresql_database": "nosuch"}), "correct postgresql_database"),
        (json!({"postgresql_database": "closed"}), "GRANT CONNECT"),
    ] {
        let message = rig.refused(more.clone()).await;
        assert!(message.contains(says), "{more}: {message}");
    }
    source.sql("shop", "ALTER TABLE plain ENABLE ROW LEVEL SECURITY");
    assert!(rig.refused(json!({"postgresql_database": "shop"})).await.contains("BYPASSRLS"));
    source.sql("shop", "ALTER TABLE plain DISABLE ROW LEVEL SECURITY; REVOKE pg_read_all_data FROM backup");
    assert!(rig.refused(json!({"postgresql_database": "shop"})).await.contains("GRANT pg_read_all_data"));
    leftovers::assert_none(&rig.installation).await;
}

/// A `pg_dump` that cuts what the real one prints to so many hundredths and ends well.
const CUTTING: &str = "#!/bin/sh\n\
    case \"$*\" in *--version*) exec /usr/bin/pg_dump \"$@\";; esac\n\
    file=$(mktemp); /usr/bin/pg_dump \"$@\" >\"$file\"\n\
    head -c $(($(wc -c <\"$file\") * PERCENT / 100)) \"$file\"; rm \"$file\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_cut_with_exit_0_is_never_whole() {
    for percent in [1, 50, 99] {
        let script = CUTTING.replace("PERCENT", &percent.to_string());
        let host = Host::start_with_programs(&[("pg_dump", script.as_str())], false).await;
        let rig = Rig::start_on(host, Installation::start().await).await;
        rig.postgres.sql("postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 20000) n");
        for format in ["plain", "custom"] {
            let message = rig.broken(json!({"postgresql_format": format})).await;
            assert!(message.contains("cut off"), "{percent} % of {format}: {message}");
        }
        leftovers::assert_only_named_objects(&rig.installation).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_old_tool_is_told_before_the_run() {
    let pass = |name: &str| format!("#!/bin/sh\nexec /usr/bin/{name} \"$@\"\n");
    let tools: Vec<_> = ["env", "timeout", "sh", "mktemp", "rm", "psql"].map(|name| (name, pass(name))).into();
    let tools: Vec<_> = tools.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let rig = Rig::start_on(Host::start_with_programs(&tools, true).await, Installation::start().await).await;
    let message = rig.refused(json!({})).await;
    assert!(message.contains("pg_dump") && message.contains("install"), "{message}");

    let old = [("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")];
    let rig = Rig::start_on(Host::start_with_programs(&old, false).await, Installation::start().await).await;
    let message = rig.refused(json!({})).await;
    assert!(message.contains("older than the server") && message.contains("9.6.24"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_killed_in_mid_dump_is_not_its_end() {
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let rig = Rig::start_on(Host::start().await, Installation::start_behind(&proxy).await).await;
    let noise = "CREATE TABLE noise AS SELECT string_agg(md5(random()::text), '') AS t FROM generate_series(1, 1500000) n GROUP BY n % 1500";
    rig.postgres.sql("postgres", noise);
    let config = json!({"postgresql_globals": false, "compression_level": 0});
    let job = rig.job(config).await;
    let backup = rig.installation.start_backup(&job).await;
    rig.installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(4 << 20)).await;
    assert_eq!(processes_that_show("canary:91"), Vec::<String>::new(), "while pg_dump runs");
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
    assert_eq!(rig.postgres.sql("postgres", ended), "1");
    proxy.release();
    let backup = rig.installation.backup_when(&backup, |backup| !backup["failure"].is_null()).await;
    assert_eq!(backup["status"], "pending", "it is tried again: {backup}");
    assert!(backup["failure"]["message"].as_str().unwrap().contains("ended the connection"), "{backup}");
    leftovers::assert_only_named_objects(&rig.installation).await;
}
